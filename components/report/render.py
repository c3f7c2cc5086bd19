"""Renders the facts of a run as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from components.config.metrics import describe_metric
from components.report import formats
from components.report.calibration import calibration
from components.report.cell_charts import swatch
from components.report.charts import heat_map, histogram
from components.report.comparisons import gate_rows, seed_spread, simpler_models
from components.report.data_and_training import (
    feature_rows,
    learning_curves,
    log_rows,
    node_rows,
    split_rows,
    temperature_words,
)
from components.report.importance import importance
from components.report.quality import (
    FAR_OFF,
    FEW_EXAMPLES,
    LARGE_SLICE,
    class_rows,
    comparison_rows,
    confusion_rows,
    curve_charts,
    main_metric_row,
    metric_rows,
    slice_tables,
)
from components.report.sentences import headline, interval_sentence

if TYPE_CHECKING:
    from components.report.facts import RegressionFacts, RunFacts

TEMPLATES = Path(__file__).parent / "templates"


def render_report(facts: RunFacts) -> str:
    """Returns the report as HTML; everything from a log or a configuration is escaped."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    page = _environment().get_template("report.html")
    return page.render(
        facts=facts,
        style=Markup(style),
        few_examples=FEW_EXAMPLES,
        large_slice=LARGE_SLICE,
        far_off=FAR_OFF,
        held_out=facts.lineage.config.data.splits.by,
        **_quality(facts),
        **_background(facts),
    )


def _quality(facts: RunFacts) -> dict[str, Any]:
    """Returns the page's variables about the model."""
    evaluation = facts.evaluation
    return {
        "evaluation": evaluation,
        "verdict": headline(evaluation, facts.push),
        "intervals": interval_sentence(evaluation),
        "gates": gate_rows(evaluation),
        "simpler": simpler_models(evaluation),
        "main": main_metric_row(evaluation),
        "comparison": comparison_rows(evaluation),
        "metrics": metric_rows(evaluation),
        "classes": class_rows(evaluation),
        "confusion": confusion_rows(evaluation),
        "seeds": seed_spread(evaluation),
        "calibration": calibration(evaluation),
        "curves": curve_charts(evaluation),
        "importance": importance(evaluation),
        "regression": _regression_charts(facts.regression) if facts.regression else None,
        "slices": slice_tables(evaluation),
    }


def _background(facts: RunFacts) -> dict[str, Any]:
    """Returns the page's variables about how the model was made."""
    log = facts.data.log
    config = facts.lineage.config.recipe
    return {
        "learning": learning_curves(facts.training) if facts.training else [],
        "temperature": temperature_words(facts.training.temperature) if facts.training else "",
        "splits": split_rows(log, facts.evaluation.classes) if log else [],
        "features": feature_rows(facts.data),
        "log": log_rows(log) if log else [],
        "nodes": node_rows(facts.nodes),
        "config": yaml.safe_dump(config, allow_unicode=True),
    }


def _regression_charts(regression: RegressionFacts) -> tuple[Markup, Markup]:
    scatter = heat_map(
        regression.edges,
        regression.grid,
        title="Predicted against actual",
        x_label="actual",
        y_label="predicted",
    )

    residuals = histogram(
        regression.residuals,
        title="Histogram of the errors",
        x_label="predicted − actual",
        y_label="outcomes",
    )
    return scatter, residuals


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
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


def _breakable(text: str) -> Markup:
    """Escapes a name and lets it break after underscores, slashes and the like, to fit a phone."""
    escaped = str(escape(text))
    for separator in ("_", "/", "-", "="):
        escaped = escaped.replace(separator, f"{separator}<wbr>")
    return Markup(escaped)
