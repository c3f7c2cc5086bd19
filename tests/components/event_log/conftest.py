"""A small log of forty learners, whole; each test spoils what it is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config import Config

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
    """Both classes for every learner, as of 2 and 4."""
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
    """Returns a function from changes, `section={...}`, to a configuration of the log in the test's folder."""

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
