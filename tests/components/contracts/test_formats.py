"""Every JSON file that outlives a run carries a format number, and an unknown one is refused."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest

from components import contracts
from components.config import load_config
from components.contracts.contract import Contract, ContractError

REPOSITORY = Path(__file__).parents[3]
RUN = {"run": "20261126-181302-7bd695", "name": "small", "started": "2026-11-26T18:13:02Z"}
COUNTS = dict.fromkeys(("events", "outcomes", "learners", "units", "cold_starts", "truncated"), 1)
TIMES = dict.fromkeys(("first_event", "last_event", "first_outcome", "last_outcome"), "2026-01-01")

# The required keys of each file, without a format number, as the first versions wrote them.
CONTENTS: dict[str, dict[str, Any]] = {
    "assets.extra/calibration.json": {"examples": 60},
    "assets.extra/layout.json": {"inputs": {"dense_0": [["lstm_1", 32], ["context_unit_id", 8]]}},
    "assets.extra/mastery.json": {"name": "small", "task": "classification", "config": {}},
    "audit.jsonl": {"revision": 1, "action": "promote", "before": {}, "after": {"stable": 7}},
    "backtest.json": {
        **dict.fromkeys(("name", "window", "config", "version"), "a"),
        "task": "classification",
        "replay": 0.2,
        "warm_start": True,
        "spans": [],
    },
    "left-out.json": {"salt": "00" * 16},
    "cross-validation.json": {
        **dict.fromkeys(("version", "code", "config", "name"), "a"),
        **dict.fromkeys(("learners", "outcomes", "seconds"), 1),
        "task": "classification",
        "by": "learner",
        "folds": [],
        "overall": {"examples": [], "metrics": {}},
    },
    "drift.json": {
        "name": "small",
        **dict.fromkeys(("reference_learners", "learners", "outcomes", "draws"), 1),
        "confidence": 0.99,
        "columns": [],
    },
    "quality.json": {"as_of": "2026-03-02", "since": "2026-02-02", "assumes": "", "versions": []},
    "watch.json": {
        "name": "small",
        "as_of": "2026-03-02",
        "findings": [],
        "log": {"max_age_days": 7},
    },
    "history.json": {"epochs": [{"epoch": 1, "loss": 0.5}]},
    "log_summary.json": {
        **COUNTS,
        **TIMES,
        "clock": "UTC",
        "steps": {"50%": 12},
        "splits": {"train": {"low": 1}},
        "files": {"events": {"events.parquet": 1}},
    },
    "release/data-statement.json": {"events": 9, "outcomes": 3, "learners": 2, "units": 1},
    "release/model-card.json": {
        "name": "small",
        "version": 7,
        "task": "classification",
        "overall": {"examples": 1, "metrics": {}},
    },
    "release/release.json": {"name": "small", "version": 7},
    "effect.json": {
        "made_at": "2026-11-26T18:13:02Z",
        "name": "small",
        "is_share": True,
        "hold_out": 0.1,
        "verdict": "no_hold_out",
    },
    "manifest.json": {"version": 7, "name": "small"},
    "metrics.json": {"task": "classification", "overall": {"examples": 1, "metrics": {}}},
    "tuning.json": {
        **dict.fromkeys(("name", "study", "config", "code", "version"), "a"),
        "data": {},
        "space": {},
        "trials": [{"number": 1, "state": "complete", "values": {}}],
        "best": 1,
    },
    "nodes.json": {"nodes": [{"id": "Trainer", "state": "done"}]},
    "plan.json": {
        "run": RUN["run"],
        "root": "/srv/mastery/runs",
        "config": load_config(REPOSITORY / "configs" / "sample.yaml").model_dump(
            mode="json", by_alias=True
        ),
    },
    "push.json": {"pushed": False, "reason": "push.enabled is false"},
    "result.json": {"warnings": []},
    "retrain.json": {
        "name": "small",
        "train": False,
        "cause": {"when": "schedule", "why": "no new data", "decided_at": "2026-03-02T06:00Z"},
        "window": "last:90",
        "replay": 0.2,
        "max_per_week": 2,
    },
    "routing.json": {"revision": 1, "time": "2026-11-26T18:13:02+00:00", "model": "small"},
    "run.json": RUN,
    "assets.extra/vocabularies.json": {"step_event_type": ["video", "quiz"]},
    "simulation.json": {
        "learners": 300,
        "seed": 3,
        "table_format": "parquet",
        "code": "c" * 16,
        "events": 9,
        "classes": {"low": 1},
        "bytes": {"events.parquet": 1},
    },
    "tracking.json": {"told": {"mlflow": {"address": "https://mlflow", "state": "passed"}}},
    "verdict.json": {"anomalies": []},
}


def content(kind: type[Contract]) -> dict[str, Any]:
    """Returns the least that a file holds."""
    if kind.FILE not in CONTENTS:
        pytest.fail(f"add the least that {kind.FILE} holds to CONTENTS")
    return CONTENTS[kind.FILE]


def all_contracts() -> list[type[Contract]]:
    """Returns all contracts of ours; `provenance.json` is in a format of others."""
    for module in pkgutil.iter_modules(contracts.__path__):
        importlib.import_module(f"{contracts.__name__}.{module.name}")
    found = [
        kind
        for kind in Contract.__subclasses__()
        if kind.__module__.startswith("components.") and not kind.model_fields["format"].exclude
    ]
    return sorted(found, key=lambda kind: kind.FILE)


@pytest.mark.parametrize("kind", all_contracts(), ids=lambda kind: kind.FILE)
class TestEveryFile:
    """The same for each contract."""

    def test_a_new_file_carries_a_format_number(self, kind: type[Contract]) -> None:
        written = kind.from_json(json.dumps(content(kind))).to_json()
        assert json.loads(written)["format"] == kind.FORMAT
        assert kind.from_json(written).to_json() == written

    def test_a_file_without_a_format_number_has_the_first_format(
        self, kind: type[Contract]
    ) -> None:
        assert kind.from_json(json.dumps(content(kind))).format == 1

    def test_an_unknown_format_is_refused_in_one_sentence(
        self, kind: type[Contract], tmp_path: Path
    ) -> None:
        file = tmp_path / kind.FILE
        file.parent.mkdir(exist_ok=True)
        newer = kind.FORMAT + 1
        file.write_text(json.dumps({**content(kind), "format": newer}))
        with pytest.raises(ContractError) as caught:
            kind.read(tmp_path)
        assert str(caught.value) == (
            f"{file}: expected {kind.FILE} of Mastery; expected format {kind.FORMAT} or earlier, "
            f"found {newer}: a newer version of Mastery wrote it; update this one."
        )

    @pytest.mark.parametrize("number", [0, -1, 1.5, None])
    def test_a_number_that_is_not_a_format_is_refused(
        self, kind: type[Contract], number: object
    ) -> None:
        with pytest.raises(ContractError, match="format: "):
            kind.from_json(json.dumps({**content(kind), "format": number}))
