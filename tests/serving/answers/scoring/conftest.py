"""A pushed version whose model answers by a formula, and a log that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf

from components.config import Config
from components.contracts.manifest import Manifest, RecordedDecision
from components.model_version.verify import file_digests
from serving.answers.scoring.run import ScoringOptions
from serving.answers.scoring.versions import PushedVersion, open_version
from tests.components.serving_check.conftest import CLASSES, SmallModel
from tests.serving import explaining

BEAM = ("--runner=components.node.in_memory_runner.make_runner",)
START = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = Config.model_validate(
    {
        "name": "small",
        "data": {"events": "none", "outcomes": "none"},
        "schema": "none.pbtxt",
        "label": {"column": "mastery", "classes": CLASSES},
        "steps": {
            "max_steps": 4,
            "features": {"event_type": {"type": "categorical"}, "correct": {"type": "numeric"}},
        },
        "context": {"level": {"type": "numeric"}},
        "prior": {"group_by": ["unit_id"]},
        "decisions": [{"name": "call", "class": "low", "threshold": 0.4}],
        "gates": [{"metric": "accuracy", "min": 0}],
    }
)


CALL = {
    "name": "call",
    "class": "low",
    "threshold": 0.4,
    "measured": {
        "examples": 100, "of_class": 30, "named": 40, "right": 24, "recall": 0.8, "precision": 0.6,
    },
}  # fmt: skip


def at(**parts: float) -> datetime:
    """Returns a moment of the log: so long after its start."""
    return START + timedelta(**parts)


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel alone."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    model = SmallModel(None, level=tf.float32)
    tf.saved_model.save(model, str(folder), {"serving_default": model.serving_default})
    return folder


@pytest.fixture(scope="session")
def version(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> PushedVersion:
    """The model as the Pusher leaves it."""
    return open_version(push(saved_model, tmp_path_factory.mktemp("serving"), 7))


@pytest.fixture(scope="session")
def explaining_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that explains its answers, and says how sure they are."""
    return explaining.save(tmp_path_factory.mktemp("explaining") / "model")


@pytest.fixture(scope="session")
def explaining_version(
    explaining_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> PushedVersion:
    """The same as the Pusher leaves it."""
    return open_version(push(explaining_model, tmp_path_factory.mktemp("serving"), 8))


def push(model: Path, serving: Path, number: int) -> Path:
    """Copies a model into a serving folder, with its manifest; returns the version's folder."""
    import shutil

    folder = serving / str(number)
    shutil.copytree(model, folder)
    Manifest(
        version=number,
        name="small",
        run=f"run-{number}",
        pushed_at="2026-03-01T12:00:00+00:00",
        config=CONFIG.recipe,
        metrics={"accuracy": 0.75},
        decisions=[RecordedDecision.model_validate(CALL)],
        files=file_digests(folder),
        gates=[],
    ).write(folder)
    return folder


def events(count: int = 200, learners: int = 9) -> pl.DataFrame:
    """Returns events of two units over ten days, in no order."""
    rows = range(count)
    return pl.DataFrame(
        {
            "learner_id": [f"l{row % learners}" for row in rows],
            "unit_id": [f"unit-{row % 2}" for row in rows],
            "time": [at(hours=row * 37 % 240) for row in rows],
            "event_type": ["quiz" if row % 3 else "vidéo" for row in rows],
            "correct": [None if row % 5 == 0 else float(row % 2) for row in rows],
            "knowledge_component": [None if row % 7 == 0 else f"c{row % 3}" for row in rows],
            "dwell_seconds": [float(row % 60) for row in rows],
        }
    )


def people(learners: int = 9) -> pl.DataFrame:
    """Returns a table of learners; the last one has no row."""
    return pl.DataFrame(
        {
            "learner_id": [f"l{row}" for row in range(learners - 1)],
            "level": [None if row == 3 else float(row % 4) for row in range(learners - 1)],
        }
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder with events.parquet and learners.csv."""
    events().write_parquet(tmp_path / "events.parquet")
    people().write_csv(tmp_path / "learners.csv")
    return tmp_path


def options(log: Path, moments: Sequence[datetime], **changed: object) -> ScoringOptions:
    """Returns the options of a scoring of the log."""
    given: dict[str, object] = {
        "events": [str(log / "events.parquet")],
        "learners": [str(log / "learners.csv")],
        "moments": list(moments),
        "beam": BEAM,
        "partitions": 3,
    }
    return ScoringOptions(**{**given, **changed})  # type: ignore[arg-type]
