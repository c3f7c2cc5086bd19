"""Renders the papers that people read, each as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from markupsafe import Markup

from components.config.metrics import foremost_metrics
from components.contracts.evaluation import describe_slice
from components.contracts.names import decision_output
from components.contracts.papers import (
    CARD_PAGE,
    INSTRUCTIONS,
    STATEMENT_PAGE,
    TECHNICAL_FILE,
    DataStatement,
    VersionCard,
)
from components.report import formats
from components.report.page import page_environment, read_styles
from components.report.render import describe_quality

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

    from components.config.root import Config
    from components.papers.bill_of_materials import Package
    from components.papers.facts import VersionFacts

TEMPLATES = Path(__file__).parent / "templates"
PAGES = {
    CARD_PAGE: "Model card",
    INSTRUCTIONS: "Instructions for use",
    TECHNICAL_FILE: "Technical file",
    STATEMENT_PAGE: "Data statement",
}
SERVICE_MARK = Markup("<!-- in service -->")  # where the state of a version is put in later

# The packages that the technical file names, as people write them.
_NAMED = {"mastery": "Mastery", "tfx": "TFX", "tensorflow": "TensorFlow", "keras": "Keras"}


def render_pages(
    facts: VersionFacts,
    card: VersionCard,
    statement: DataStatement | None,
    packages: Mapping[str, Package],
) -> dict[str, str]:
    """Returns the HTML of every page by its path below the version's folder.

    Everything from a log or a configuration is escaped.

    Args:
        facts: what is known of the version.
        card: its model card.
        statement: its data statement; None without a summary of the log.
        packages: what is installed, by name.
    """
    environment = paper_environment()
    variables = {
        **describe_quality(facts.evaluation, held_out=facts.config.data.splits.by),
        **_identity(facts, card),
        **_system(facts, packages),
        "statement": statement,
    }
    return {
        path: environment.get_template(Path(path).name).render(**variables, title=title)
        for path, title in PAGES.items()
    }


def paper_environment() -> Environment:
    """Returns the environment of the papers' templates: the report's, and filters of their own."""
    environment = page_environment(TEMPLATES)
    environment.filters |= {
        "day": _day,
        "rough": formats.rough,
        "category": formats.category,
    }
    environment.globals |= {"describe_slice": describe_slice, "missing": _missing}
    return environment


def paper_styles() -> Markup:
    """Returns the styles of a paper."""
    return read_styles(TEMPLATES / "papers.css")


def _identity(facts: VersionFacts, card: VersionCard) -> dict[str, Any]:
    """Returns the variables about which version it is, and what was written about it."""
    pushed_at = facts.manifest.pushed_at
    return {
        "style": paper_styles(),
        "service_mark": SERVICE_MARK,
        "pages": {Path(path).name: title for path, title in PAGES.items()},
        "files": {
            "metrics.json": "What was measured",
            "model-card.json": "Model card, for machines",
            "data-statement.json": "Data statement, for machines",
            "sbom.cdx.json": "Software bill of materials, CycloneDX",
            "release.json": "Which papers there are",
        },
        "name": facts.name,
        "version": facts.number,
        "pushed_at": datetime.fromisoformat(pushed_at) if pushed_at else None,
        "manifest": facts.manifest,
        "card": card,
        "texts": facts.written,
        "blanks": facts.config.papers.blanks,
    }


def _system(facts: VersionFacts, packages: Mapping[str, Package]) -> dict[str, Any]:
    """Returns the variables about what the system is and does."""
    config = facts.config
    return {
        "config": config,
        "recipe": yaml.safe_dump(config.recipe, allow_unicode=True),
        "training": facts.training,
        "versions": {
            title: packages[name].version for name, title in _NAMED.items() if name in packages
        },
        "foremost": foremost_metrics(facts.evaluation.task),
        "what_it_is": "What a learner will have mastered"
        if config.label.task == "classification"
        else "How well a learner will do",
        "what_it_does": describe_task(config),
        "architecture": describe_network(config),
        "inputs": describe_inputs(config),
        "outputs": list(_describe_outputs(facts)),
        "measures": _describe_measures(facts),
        "allowed_protected": [
            name
            for name, feature in {**config.steps.features, **config.context}.items()
            if feature.allow_protected and name in config.protected
        ],
    }


def describe_task(config: Config) -> str:
    """Returns what the model answers, and from what, in a sentence."""
    whose = "in a unit" if config.steps.history == "unit" else "in all units"
    read = f"From the last {formats.count(config.steps.max_steps)} events of a learner {whose}"
    if config.label.task == "regression":
        return f"{read} it answers which {config.label.column} to expect."
    *most, last = config.label.classes
    return (
        f"{read} it answers how likely each class of {config.label.column} is: "
        f"{', '.join(most)} or {last}."
    )


def describe_network(config: Config) -> str:
    """Returns what kind of network it is, in a sentence."""
    model = config.model
    reads = {"lstm": "Stacked LSTMs read", "transformer": "A causal transformer reads"}
    beside = [
        *(["the context"] if config.context else []),
        *(["counts and rates of the sequence"] if model.summaries else []),
    ]
    joined = f", joined with {' and '.join(beside)}" if beside else ""
    return f"{reads[model.kind]} the sequence{joined}; dense layers lead from that to the answer."


def describe_inputs(config: Config) -> str:
    """Returns the columns that the model reads, in sentences."""
    steps = ", ".join(config.steps.features)
    text = f"Of every event it reads {steps}."
    if config.context:
        text += f" Beside the sequence it reads {', '.join(config.context)}."
    return text


def _describe_outputs(facts: VersionFacts) -> Iterator[str]:
    """Yields what each part of an answer means."""
    config, evaluation = facts.config, facts.evaluation
    if config.label.task == "regression":
        yield "prediction: the expected value."
    else:
        yield (
            "predicted_class and probabilities: the likeliest class, and how likely each one is: "
            "how often such learners had that outcome, not what this one will do."
        )
    yield (
        "basis: sequence where the learner's own events decide, prior where there were too few of "
        "them and the answer is that of the learner's group."
    )
    if evaluation.uncertainty is not None:
        promised = formats.percent(evaluation.uncertainty.promised)
        yield (
            "answer_text and prediction_set: the classes that cannot be ruled out, or not sure. "
            f"The set is meant to hold the truth in {promised} of the cases; the model card says "
            "how often it did."
        )
    for decision in evaluation.decisions:
        yield (
            f"{decision_output(decision.name)}: whether to act, which is where the probability of "
            f"{decision.class_} is at least {formats.number(decision.threshold)}."
        )
    if config.explain.enabled and evaluation.importance is not None:
        yield (
            "reasons: how much each feature adds to this answer, compared with the average learner "
            "of the group. They say what the model went by, not what caused the outcome."
        )


def _describe_measures(facts: VersionFacts) -> str:
    """Returns what the system itself does so that people can overrule it."""
    parts = [
        "the board shows what each answer was made from",
        "people reject answers there",
    ]
    if facts.config.explain.enabled and facts.evaluation.importance is not None:
        parts.append("each answer can name its reasons")
    if facts.evaluation.uncertainty is not None:
        parts.append("an answer that is not sure says so")
    parts.append("a version is taken out of service by mastery models rollback")
    return f"{formats.sentence_case('; '.join(parts))}."


def _day(moment: str) -> str:
    """Returns the day of a timestamp; a moment of another clock unchanged."""
    if "T" not in moment:
        return moment
    day = datetime.fromisoformat(moment)
    return f"{day.day} {day:%B %Y}"


def _missing(split: Any, name: str) -> float | None:
    """Returns the share of a column that is missing in a split; None where that is unknown."""
    return next((item.missing for item in split.features if item.name == name), None)
