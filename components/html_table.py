"""Tables as HTML that screen readers understand, for notebooks: the one place that writes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from html import escape

_NUMBER = ' style="text-align: right; font-variant-numeric: tabular-nums"'


@dataclass(frozen=True)
class HtmlTable:
    """A table with a caption, whose first column names the row.

    Attributes:
        caption: what it is about.
        header: names of the columns.
        rows: texts; escaped when they are written.
        numbers: places of the columns that hold numbers.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[int] = field(default=frozenset())

    def _repr_html_(self) -> str:
        """Returns the markup; notebooks call this.

        >>> print(HtmlTable("Who", ["name", "age"], [["<b>", "7"]], {1})._repr_html_())
        <table><caption>Who</caption>
        <thead><tr><th scope="col">name</th><th scope="col">age</th></tr></thead>
        <tbody>
        <tr><th scope="row">&lt;b&gt;</th><td style="text-align: right; \
font-variant-numeric: tabular-nums">7</td></tr>
        </tbody></table>
        """
        columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.header)
        rows = "\n".join(self._row(row) for row in self.rows)
        return (
            f"<table><caption>{escape(self.caption)}</caption>\n"
            f"<thead><tr>{columns}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
        )

    def _row(self, row: Sequence[str]) -> str:
        first, *others = row
        cells = "".join(
            f"<td{_NUMBER if index in self.numbers else ''}>{escape(text)}</td>"
            for index, text in enumerate(others, start=1)
        )
        return f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'


def join_html(*parts: HtmlTable | str) -> str:
    """Returns tables, and paragraphs of text between them, as one piece of HTML."""
    return "\n".join(
        f"<p>{escape(part)}</p>" if isinstance(part, str) else part._repr_html_() for part in parts
    )
