"""Renders the facts of a run as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from components.report import formats
from components.report.charts import heat_map, histogram, swatch
from components.report.facts import RegressionFacts, RunFacts
from components.report.making import feature_rows, learning_curves, log_rows, node_rows, split_rows
from components.report.quality import (
    class_rows,
    comparison_rows,
    confusion_rows,
    curve_charts,
    main_metric,
    metric_rows,
)
from components.report.slices import FEW_EXAMPLES, slice_tables
from components.report.verdict import read_gate, say_verdict
from components.report.wording import metric_words, sentence_case

TEMPLATES = Path(__file__).parent / "templates"


def render_report(facts: RunFacts) -> str:
    """Returns the report as HTML. Everything that came from a log or a configuration is escaped."""
    evaluation = facts.evaluation
    return (
        _environment()
        .get_template("report.html")
        .render(
            facts=facts,
            evaluation=evaluation,
            style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            verdict=say_verdict(evaluation, facts.push),
            gates=[read_gate(gate, evaluation.slices) for gate in evaluation.gates],
            main=main_metric(evaluation),
            comparison=comparison_rows(evaluation),
            metrics=metric_rows(evaluation),
            classes=class_rows(evaluation),
            confusion=confusion_rows(evaluation),
            curves=curve_charts(evaluation),
            regression=_regression_charts(facts.regression) if facts.regression else None,
            slices=slice_tables(evaluation),
            few_examples=FEW_EXAMPLES,
            learning=learning_curves(facts.training) if facts.training else [],
            splits=split_rows(facts.data.log, evaluation.classes),
            features=feature_rows(facts.data),
            log=log_rows(facts.data.log),
            nodes=node_rows(facts.nodes),
            config=yaml.safe_dump(facts.lineage.config, sort_keys=False, allow_unicode=True),
        )
    )


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
        "change": formats.change,
        "percent": formats.percent,
        "duration": formats.duration,
        "moment": formats.moment,
        "sentence": sentence_case,
        "breakable": _breakable,
    }
    environment.globals |= {"swatch": swatch, "words": metric_words}
    return environment


def _breakable(text: str) -> Markup:
    """Escapes a name and lets it break after underscores, slashes and the like, so that it fits a phone."""
    escaped = str(escape(text))
    for separator in ("_", "/", "-", "="):
        escaped = escaped.replace(separator, f"{separator}<wbr>")
    return Markup(escaped)
