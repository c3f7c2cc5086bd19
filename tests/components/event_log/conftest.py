"""A small correct log of forty learners; each test spoils one aspect of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config import Config
from components.errors import LogError
from components.event_log.chunks import Chunk
from components.event_log.log import check_log
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile, format_of

LEARNERS = 40
CLASSES = ["low", "high"]


@pytest.fixture
def events() -> pl.DataFrame:
    """Four events for each of forty learners, at times 0 to 3."""
    rows = LEARNERS * 4
    return pl.DataFrame(
        {
            "learner_id": [f"l{row // 4}" for row in range(rows)],
            "unit_id": ["u"] * rows,
            "time": [row % 4 for row in range(rows)],
            "event_type": ["quiz" if row % 2 else "video" for row in range(rows)],
            "dwell": [float(row) for row in range(rows)],
        }
    )


@pytest.fixture
def outcomes() -> pl.DataFrame:
    """Two outcomes for every learner, one of each class, as of 2 and 4."""
    rows = LEARNERS * 2
    return pl.DataFrame(
        {
            "learner_id": [f"l{row // 2}" for row in range(rows)],
            "unit_id": ["u"] * rows,
            "as_of": [2 + 2 * (row % 2) for row in range(rows)],
            "mastery": [CLASSES[row % 2] for row in range(rows)],
            "age": [20 + row % 7 for row in range(rows)],
        }
    )


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    """Returns a function that configures the log in the test's folder, with changed sections."""

    def build(**changes: dict[str, Any]) -> Config:
        sections: dict[str, dict[str, Any]] = {
            "data": {
                "events": str(tmp_path / "events.parquet"),
                "outcomes": str(tmp_path / "outcomes.parquet"),
                "min_class_examples": 1,
            },
            "label": {"column": "mastery", "classes": CLASSES},
            "steps": {
                "max_steps": 3,
                "features": {"event_type": {"type": "categorical"}, "dwell": {"type": "numeric"}},
            },
            "evaluation": {"slices": ["age"]},
        }
        for name, values in changes.items():
            sections[name] = {**sections.get(name, {}), **values}
        gate = "mse" if sections["label"].get("task") == "regression" else "accuracy"
        return Config.model_validate(
            {"name": "test", "schema": "s", "gates": [{"metric": gate, "min": 0}], **sections}
        )

    return build


@pytest.fixture
def write(tmp_path: Path, events: pl.DataFrame, outcomes: pl.DataFrame) -> Callable[..., None]:
    """Returns a function that writes the log, with a table replaced where one is given."""

    def write_log(events: pl.DataFrame = events, outcomes: pl.DataFrame = outcomes) -> None:
        events.write_parquet(tmp_path / "events.parquet")
        outcomes.write_parquet(tmp_path / "outcomes.parquet")

    return write_log


@pytest.fixture
def refuse(configure: Callable[..., Config], tmp_path: Path) -> Callable[..., list[str]]:
    """Returns a function that checks a log and returns its problems, with paths in the folder."""

    def check(**changes: dict[str, Any]) -> list[str]:
        with pytest.raises(LogError) as error:
            check_log(configure(**changes))
        return [problem.replace(f"{tmp_path}/", "") for problem in error.value.problems]

    return check


@pytest.fixture(scope="session")
def read() -> Callable[..., tuple[pl.DataFrame, list[int], list[str]]]:
    """Returns a function that reads columns of a file.

    It returns all rows, their numbers, and the problems without the folder.
    """

    def read_file(path: Path, *columns: str) -> tuple[pl.DataFrame, list[int], list[str]]:
        file = LogFile(str(path), format_of(str(path)) or "", 0)
        frames, numbers, problems = [], [], []
        for item in read_chunks(file, columns):
            if isinstance(item, Chunk):
                frames.append(item.frame)
                numbers += list(item.numbers)
            else:
                assert isinstance(item, Problem)
                problems.append(str(item).replace(f"{path.parent}/", ""))
        return pl.concat(frames) if frames else pl.DataFrame(), numbers, problems

    return read_file
