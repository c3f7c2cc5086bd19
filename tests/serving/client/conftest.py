"""A model, a log that fits it, and a server of the model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf

from components.config import Config
from tests.components.serving_check.conftest import CLASSES, SmallModel
from tests.serving import explaining
from tests.serving.client.stand_in import Server, serve
from tests.serving.server import running as embedded
from tests.serving.server.tiny import push

CONFIG = Config.model_validate(
    {
        "name": "small",
        "data": {"events": "none", "outcomes": "none", "max_cold_start_share": 0.9},
        "schema": "none.pbtxt",
        "label": {"column": "mastery", "classes": CLASSES},
        "steps": {
            "max_steps": 4,
            "features": {"event_type": {"type": "categorical"}, "correct": {"type": "numeric"}},
        },
        "context": {"level": {"type": "numeric"}},
        "prior": {"group_by": ["unit_id"]},
        "evaluation": {"slices": ["gender"]},
        "gates": [{"metric": "accuracy", "min": 0}],
    }
)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    model = SmallModel(None, level=tf.float32)
    tf.saved_model.save(model, str(folder), {"serving_default": model.serving_default})
    return folder


@pytest.fixture(scope="session")
def running(small_model: Path) -> Iterator[Server]:
    """A running stand-in that can be set to refuse requests."""
    with serve(small_model) as server:
        yield server


@pytest.fixture(scope="session")
def explaining_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that explains its answers."""
    return explaining.save(tmp_path_factory.mktemp("explaining") / "model")


@pytest.fixture(scope="session")
def explaining_server(explaining_model: Path) -> Iterator[Server]:
    """A running stand-in that answers by it."""
    with serve(explaining_model) as server:
        yield server


@pytest.fixture(scope="session", params=["stand-in", "embedded"])
def addresses(
    request: pytest.FixtureRequest, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Addresses of a server of `small_model` (`rest`, `grpc`) and the name of its `model`."""
    if request.param == "stand-in":
        standing = request.getfixturevalue("running")
        yield {"rest": standing.rest, "grpc": standing.grpc, "model": "small"}
        return
    folder = tmp_path_factory.mktemp("pushed")
    push(small_model, folder, 1)
    with embedded.running(folder) as started:
        ports = {"rest": f"http://127.0.0.1:{started.server.rest_port}"}
        yield {**ports, "grpc": f"grpc://127.0.0.1:{started.server.grpc_port}", "model": "tiny"}


@pytest.fixture
def server(running: Server) -> Server:
    """The server, with its records of requests cleared."""
    running.refuse.clear()
    running.asked.clear()
    running.tokens.clear()
    running.learners.clear()
    return running


@pytest.fixture(scope="session")
def example() -> bytes:
    """A serialized example without steps."""
    number = tf.train.Feature(int64_list=tf.train.Int64List(value=[0]))
    return bytes(
        tf.train.Example(
            features=tf.train.Features(feature={"num_steps": number})
        ).SerializeToString()
    )


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with events.csv, outcomes.csv (with labels) and questions.csv (none, reversed)."""
    folder = tmp_path_factory.mktemp("log")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    events = pl.DataFrame(
        {
            "learner_id": [f"l{row % 9}" for row in range(80)],
            "unit_id": [f"unit-{row % 2}" for row in range(80)],
            "time": [(start + timedelta(hours=row * 37 % 100)).isoformat() for row in range(80)],
            "event_type": ["quiz" if row % 3 else "vidéo" for row in range(80)],
            "correct": [None if row % 5 == 0 else float(row % 2) for row in range(80)],
        }
    )
    outcomes = pl.DataFrame(
        {
            "learner_id": [
                f"l{row % 11}" for row in range(44)
            ],  # two of the learners have no event
            "unit_id": [f"unit-{row % 2}" for row in range(44)],
            "as_of": [(start + timedelta(days=1 + row // 22)).isoformat() for row in range(44)],
            "level": [None if row % 6 == 0 else row % 4 for row in range(44)],
            "gender": ["f"] * 44,
            "mastery": [CLASSES[row % 3] for row in range(44)],
        }
    )
    events.write_csv(folder / "events.csv")
    outcomes.write_csv(folder / "outcomes.csv")
    outcomes.drop("mastery", "gender").reverse().write_csv(folder / "questions.csv")
    return folder
