"""What part of the heat map somebody looks at, as the page's address says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self
from urllib.parse import urlencode

By = Literal["unit", "component"]
Sort = Literal["need", "name", "column"]

PAGE_ROWS = 50
PAGE_COLUMNS = 20
LAST_PAGE = 200  # further rows are reached by filters: no page skips more than 10,000
_LONGEST = 200  # characters of a value


@dataclass(frozen=True)
class MapFilters:
    """Which learners and columns are shown, in which order.

    Attributes:
        by: what the columns are.
        group: only learners of this group; empty for all.
        course: only units of this course; empty for all.
        unit: only this unit, or the one whose components are shown; empty for all.
        search: a part of the learner's name or id.
        sort: the greatest need first, by name, or by `column`.
        column: the unit or component to sort by; empty otherwise.
        reverse: whether the order is turned round.
        page: of rows, from 1.
        columns: page of columns, from 1.
    """

    by: By = "unit"
    group: str = ""
    course: str = ""
    unit: str = ""
    search: str = ""
    sort: Sort = "need"
    column: str = ""
    reverse: bool = False
    page: int = 1
    columns: int = 1

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """Returns the filters of an address; what is not understood is left out."""
        texts = {
            name: values.get(name, "").replace("\0", "")[:_LONGEST]
            for name in ("group", "course", "unit", "column")
        }
        sort = values.get("sort")
        by_column = sort == "column" and texts["column"] != ""
        return cls(
            by="component" if values.get("by") == "component" else "unit",
            group=texts["group"],
            course=texts["course"],
            unit=texts["unit"],
            search=values.get("search", "").replace("\0", "").strip()[:_LONGEST],
            sort="column" if by_column else "name" if sort == "name" else "need",
            column=texts["column"] if by_column else "",
            reverse=values.get("reverse") == "1",
            page=_number(values.get("page", "")),
            columns=_number(values.get("columns", "")),
        )

    @property
    def offset(self) -> int:
        """How many rows are on earlier pages."""
        return (self.page - 1) * PAGE_ROWS

    def link(self, **changes: Any) -> str:
        """Returns the address with changes, at the first page of rows unless that is one.

        >>> MapFilters(group="7", page=3).link(sort="name")
        '/map?group=7&sort=name'
        """
        changed = replace(self, **{"page": 1, **changes})
        usual = asdict(MapFilters())
        said = {
            name: int(value) if isinstance(value, bool) else value
            for name, value in asdict(changed).items()
            if value != usual[name]
        }
        return f"/map?{urlencode(said)}" if said else "/map"

    def sorted_by(self, sort: Sort, column: str = "") -> str:
        """Returns the address of this order; of the order turned round, if it is sorted so."""
        same = (self.sort, self.column) == (sort, column)
        return self.link(sort=sort, column=column, reverse=same and not self.reverse)

    def direction(self, sort: Sort, column: str = "") -> str | None:
        """Returns `aria-sort` of a column; None if the rows are not sorted by it.

        Names run from A to Z, needs from the greatest to the smallest, unless turned round.
        """
        if (self.sort, self.column) != (sort, column):
            return None
        return "ascending" if (sort == "name") != self.reverse else "descending"


def _number(text: str) -> int:
    """Returns a page's number, at least 1."""
    known = text.isascii() and text.isdecimal() and len(text) < 6
    return min(max(int(text), 1), LAST_PAGE) if known else 1
