"""What the report and the papers of a version have in common: templates, styles and filters."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from components.config.metrics import describe_metric
from components.report import formats
from components.report.cell_charts import swatch

TEMPLATES = Path(__file__).parent / "templates"
STYLES = "report.css"


def page_environment(*folders: Path) -> Environment:
    """Returns the environment that templates of pages are rendered in.

    Every value is escaped, and a variable that is missing is an error.

    Args:
        folders: folders of templates that are looked through before the report's own.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    environment.filters |= {
        "count": formats.count,
        "number": formats.number,
        "span": formats.span,
        "signed": formats.signed,
        "percent": formats.percent,
        "duration": formats.duration,
        "moment": formats.moment,
        "sentence": formats.sentence_case,
        "breakable": _breakable,
    }

    environment.globals |= {"swatch": swatch, "words": describe_metric}
    return environment


def read_styles(*files: Path) -> Markup:
    """Returns the styles of a page: the report's, and those of further files."""
    texts = [file.read_text(encoding="utf-8") for file in (TEMPLATES / STYLES, *files)]
    return Markup("\n".join(texts))


def _breakable(text: str) -> Markup:
    """Escapes a name and lets it break after underscores, slashes and the like, to fit a phone."""
    escaped = str(escape(text))
    for separator in ("_", "/", "-", "="):
        escaped = escaped.replace(separator, f"{separator}<wbr>")
    return Markup(escaped)
