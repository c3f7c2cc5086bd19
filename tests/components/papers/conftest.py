"""The facts of a version, made from the artifacts that the report's tests write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.config import Config
from components.contracts.manifest import Manifest
from components.contracts.provenance import DataProvenance
from components.papers.facts import VersionFacts, load_facts
from tests.components.report.conftest import CONFIG, history, log_summary, statistics

MakeFacts = Callable[..., VersionFacts]


@pytest.fixture
def make_facts(tmp_path: Path) -> MakeFacts:
    """Returns a function that writes a run's artifacts and reads the facts of its version."""

    def make(evaluation: dict[str, Any], *, bare: bool = False, **config: Any) -> VersionFacts:
        names = ("evaluation", "examples", "statistics", "model_run")
        places = {name: tmp_path / name for name in names}
        for place in places.values():
            place.mkdir(exist_ok=True)
        (places["evaluation"] / "metrics.json").write_text(json.dumps(evaluation))
        if not bare:
            classes = evaluation["classes"]
            (places["model_run"] / "history.json").write_text(json.dumps(history()))
            log_summary(classes).write(places["examples"])
            for name, content in statistics(tuple(classes)).items():
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_bytes(content)

        label = CONFIG["label"] | {"task": evaluation["task"], "classes": evaluation["classes"]}
        is_regression = evaluation["task"] == "regression"
        gates = [{"metric": "rmse", "max": 0.9}] if is_regression else CONFIG["gates"]
        slices = {"evaluation": {"slices": [["gender"], ["region"]]}}
        made_with = Config.model_validate(
            CONFIG | {"label": label, "gates": gates} | slices | config
        )
        manifest = Manifest(
            version=1732251600,
            name=made_with.name,
            run="20261122-041205-3fa2b1",
            pushed_at="2026-11-22T04:12:05+00:00",
            data=DataProvenance(
                fingerprint="5f2c9a", span=20777, spans=["2026-11-19", "2026-11-20"], version=1
            ),
            code="0f1e2d3c",
            config=made_with.recipe,
            config_fingerprint=made_with.fingerprint,
        )
        return load_facts(made_with, manifest, **places)

    return make
