"""Renders the papers that people read, each as one self-contained HTML file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from markupsafe import Markup

from components.config.metrics import foremost_metrics
from components.contracts.evaluation import describe_slice
from components.contracts.papers import (
    PAGES,
    DataStatement,
    VersionCard,
)
from components.papers.system import (
    describe_inputs,
    describe_measures,
    describe_network,
    describe_outputs,
    describe_task,
)
from components.report import formats
from components.report.page import page_environment, read_styles
from components.report.render import describe_quality

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

    from components.papers.bill_of_materials import Package
    from components.papers.facts import VersionFacts

TEMPLATES = Path(__file__).parent / "templates"
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
        "outputs": list(describe_outputs(facts)),
        "measures": describe_measures(facts),
        "allowed_protected": [
            name
            for name, feature in {**config.steps.features, **config.context}.items()
            if feature.allow_protected and name in config.protected
        ],
    }


def add_service(page: str, *, state: str, incidents: list[str], now: datetime) -> str:
    """Returns a page that was pushed with what has become of the version since.

    Args:
        page: the HTML of a paper.
        state: whether the version is in service, in a sentence.
        incidents: what went wrong in use, a line each.
        now: when this is written.
    """
    template = paper_environment().get_template("service.html")
    added = template.render(state=state, incidents=incidents, now=now)
    return page.replace(SERVICE_MARK, added, 1)


def _day(moment: str) -> str:
    """Returns the day of a timestamp; a moment of another clock unchanged."""
    if "T" not in moment:
        return moment
    day = datetime.fromisoformat(moment)
    return f"{day.day} {day:%B %Y}"


def _missing(split: Any, name: str) -> float | None:
    """Returns the share of a column that is missing in a split; None where that is unknown."""
    return next((item.missing for item in split.features if item.name == name), None)
