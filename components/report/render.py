"""Renders the facts of a run as one self-contained HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from markupsafe import Markup

from components.report.calibration import calibration
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
from components.report.decisions import decision_facts
from components.report.fairness import fairness_facts
from components.report.importance import importance
from components.report.page import page_environment, read_styles
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
from components.report.uncertainty import uncertainty

if TYPE_CHECKING:
    from components.contracts.evaluation import Evaluation
    from components.report.facts import RegressionFacts, RunFacts


def render_report(facts: RunFacts) -> str:
    """Returns the report as HTML; everything from a log or a configuration is escaped."""
    page = page_environment().get_template("report.html")
    return page.render(
        facts=facts,
        style=read_styles(),
        verdict=headline(facts.evaluation, facts.push),
        regression=_regression_charts(facts.regression) if facts.regression else None,
        **describe_quality(facts.evaluation, held_out=facts.lineage.config.data.splits.by),
        **_background(facts),
    )


def describe_quality(evaluation: Evaluation, *, held_out: str) -> dict[str, Any]:
    """Returns the variables of the templates about the model, which the model card has as well.

    Args:
        evaluation: what the Evaluator measured.
        held_out: what the splits were made by: `learner` or `unit`.
    """
    return {
        "evaluation": evaluation,
        "held_out": held_out,
        "few_examples": FEW_EXAMPLES,
        "large_slice": LARGE_SLICE,
        "far_off": FAR_OFF,
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
        "decisions": decision_facts(evaluation),
        "fairness": fairness_facts(evaluation),
        "uncertainty": uncertainty(evaluation),
        "importance": importance(evaluation),
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
