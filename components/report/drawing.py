"""Charts of the report in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from markupsafe import Markup

from components.report.charts import HEIGHT

_STYLES = Path(__file__).parent / "templates" / "report.css"


@dataclass(frozen=True)
class Drawing:
    """Charts beside one another, coloured as in the report.

    Attributes:
        title: what they show, for screen readers.
        charts: made by `components.report.charts`.
        legend: what the lines mean, in words.
    """

    title: str
    charts: Sequence[Markup]
    legend: str = ""

    def _repr_html_(self) -> str:
        """Returns a frame of its own, so that the report's styles do not reach the notebook."""
        charts = "".join(f"<div>{chart}</div>" for chart in self.charts)
        page = (
            f"<style>{_styles()} body {{ margin: 0; padding: 0; }}</style>"
            f'<div style="display: flex; gap: 1.5em; overflow-x: auto">{charts}</div>'
            f"<p>{escape(self.legend)}</p>"
        )
        height = HEIGHT + (90 if self.legend else 30)
        return (
            f'<iframe title="{escape(self.title)}" srcdoc="{escape(page)}" '
            f'style="width: 100%; height: {height}px; border: 0"></iframe>'
        )


@cache
def _styles() -> str:
    return _STYLES.read_text(encoding="utf-8")
