"""Small artifacts of a run, as the nodes before Report write them; the statistics are TFDV's."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from components.config import Config
from components.contracts.log_summary import LogSummary
from components.contracts.names import SPLITS
from components.contracts.provenance import DataProvenance
from components.contracts.push_result import PushResult
from components.report.facts import Sources
from tests.components.report.evaluations import CLASSES

CONFIG: dict[str, Any] = {
    "name": "campus",
    "data": {"events": ["logs/events.parquet"], "outcomes": ["logs/outcomes.parquet"]},
    "schema": "campus.pbtxt",
    "label": {"column": "mastery", "task": "classification", "classes": [*CLASSES]},
    "steps": {
        "max_steps": 100,
        "features": {"event_type": {"type": "categorical"}, "dwell": {"type": "numeric"}},
    },
    "gates": [{"metric": "f1_macro", "min": 0.88}],
}
NODES = [
    {"id": "ExampleGen", "state": "cached", "seconds": 0.4},
    {"id": "StatisticsGen", "state": "done", "seconds": 12.9},
    {"id": "Trainer", "state": "done", "seconds": 133.2},
    {"id": "Evaluator", "state": "done", "seconds": 27.5},
    {"id": "Report", "state": "running", "seconds": None},
]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Sources]:
    """Returns a function that writes a run's artifacts and returns where they are."""

    def make(
        evaluation: dict[str, Any],
        *,
        predictions: pl.DataFrame | None = None,
        bare: bool = False,
        surprise: bool = False,
        **changes: Any,
    ) -> Sources:
        names = ("evaluation", "examples", "statistics", "anomalies", "model_run")
        places = {name: tmp_path / name for name in names}
        for place in places.values():
            place.mkdir(exist_ok=True)
        (places["evaluation"] / "metrics.json").write_text(json.dumps(evaluation))
        if predictions is not None:
            predictions.write_parquet(places["evaluation"] / "predictions.parquet")
        if not bare:
            (tmp_path / "nodes.json").write_text(json.dumps({"nodes": NODES}))
            (places["model_run"] / "history.json").write_text(json.dumps(history()))
            (places["examples"] / "log_summary.json").write_text(
                log_summary(evaluation["classes"]).model_dump_json()
            )
            for name, content in statistics(
                tuple(evaluation["classes"]), surprise=surprise
            ).items():
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_bytes(content)
        label = CONFIG["label"] | {"task": evaluation["task"], "classes": evaluation["classes"]}
        is_regression = evaluation["task"] == "regression"
        gates = [{"metric": "rmse", "max": 0.9}] if is_regression else CONFIG["gates"]
        pushed = PushResult(
            pushed=True, version=1732251600, destination="serving/campus/1732251600"
        )
        sources = Sources(
            config=Config.model_validate(CONFIG | {"label": label, "gates": gates}),
            code_fingerprint="0f1e2d3c4b5a6978",
            push=pushed if evaluation["blessed"] else PushResult(pushed=False),
            run_id="20261122-041205-3fa2b1",
            run_folder=tmp_path,
            data=DataProvenance(
                fingerprint="5f2c9a", span=20777, spans=["2026-11-19", "2026-11-20"], version=1
            ),
            paths={name: str(place) for name, place in places.items()},
            **places,
        )
        return replace(sources, **changes)

    return make


def history() -> dict[str, Any]:
    """The trainer's `history.json`: seventeen epochs, best at the thirteenth."""
    at = np.arange(1, 18)
    accuracy = 0.93 - 0.5 * np.exp(-at / 4)
    columns = {
        "epoch": at,
        "loss": 0.25 + 0.8 * np.exp(-at / 4),
        "val_loss": 0.33 + 0.75 * np.exp(-at / 3.5) + 0.006 * np.maximum(0, at - 13),
        "accuracy": accuracy,
        "val_accuracy": accuracy - 0.03,
    }
    return {
        "epochs": [
            {name: values[index].item() for name, values in columns.items()}
            for index in range(len(at))
        ],
        "best_epoch": 13,
        "stopped": "no better eval loss for 4 epochs",
        "warm_start": None,
        "temperature": 1.234,
        "seeds": [7, 8, 9],
        "parameters": 38_947,
        "seconds": 133.2,
    }


def log_summary(classes: list[str]) -> LogSummary:
    """ExampleGen's `log_summary.json`."""
    return LogSummary(
        events=230_816,
        outcomes=18_340,
        learners=1_865,
        units=112,
        clock="timestamp",
        first_event="2026-01-05T07:12:44+00:00",
        last_event="2026-06-30T21:03:10+00:00",
        first_outcome="2026-02-01T00:00:00+00:00",
        last_outcome="2026-07-01T00:00:00+00:00",
        cold_starts=440,
        truncated=120,
        steps={"0%": 0, "50%": 12, "95%": 48, "100%": 100},
        splits={
            split: dict.fromkeys(classes or [""], 2000 if split == "train" else 250)
            for split in SPLITS
        },
        spans=["2026-11-19", "2026-11-20"],
        version=1,
        warnings=["events that are copies of another: 3, such as learner '<b>l0</b>'"],
        files={
            "events": {"logs/events.parquet": 230_816},
            "outcomes": {"logs/outcomes.parquet": 18_340},
        },
    )


@functools.cache
def statistics(classes: tuple[str, ...], *, surprise: bool = False) -> dict[str, bytes]:
    """Files with TFDV's statistics and anomalies of three splits, by path.

    The test split's `dwell` is three times the others', so it drifts; `surprise` gives it a column
    that the train split does not have.
    """
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory

    random, schema, files = np.random.default_rng(1), None, {}
    for split, size in zip(SPLITS, (1500, 190, 180), strict=True):
        columns = _columns(random, split, size, classes or ("1",))
        if surprise and split == "test":
            columns["surprise"] = ([[b"<b>new</b>"]] * size, pa.binary())
        arrays = {
            name: pa.array(values, pa.list_(kind)) for name, (values, kind) in columns.items()
        }
        found = generate_statistics_in_memory(pa.RecordBatch.from_pydict(arrays))
        schema = schema or tfdv.infer_schema(found)
        files[f"statistics/Split-{split}/FeatureStats.pb"] = found.SerializeToString()
        files[f"anomalies/Split-{split}/SchemaDiff.pb"] = tfdv.validate_statistics(
            found, schema
        ).SerializeToString()
    return files


def _columns(
    random: np.random.Generator, split: str, size: int, classes: Sequence[str]
) -> dict[str, tuple[list[Any], pa.DataType]]:
    steps, scale = random.integers(0, 8, size), 90 if split == "test" else 30
    words = np.array([b"video", b"quiz", b"forum", b""])
    dwell = [
        [x if x > 3 else float("nan") for x in random.exponential(scale, number)]
        for number in steps
    ]
    return {
        "learner_id": ([[f"{split}{index}".encode()] for index in range(size)], pa.binary()),
        "mastery": ([[random.choice(classes).encode()] for _ in steps], pa.binary()),
        "as_of": (
            [[1_780_000_000_000_000 + int(day) * 86_400_000_000] for day in steps],
            pa.int64(),
        ),
        "dwell": (dwell, pa.float32()),
        "event_type": (
            [random.choice(words, n, p=[0.6, 0.2, 0.15, 0.05]).tolist() for n in steps],
            pa.binary(),
        ),
        "gender": (
            [None if random.random() < 0.1 else [random.choice([b"f", b"m"])] for _ in steps],
            pa.binary(),
        ),
    }
