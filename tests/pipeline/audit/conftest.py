"""A log of answers, of which the next one is to be predicted: the answer is an event at `as_of`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.config import Config

LEARNERS, ANSWERS, UNITS = 240, 12, 8
CLASSES = ["wrong", "correct"]
Configure = Callable[..., Config]


@pytest.fixture(scope="session")
def answers() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events and outcomes; a learner's ability decides how often an answer is right."""
    generator = np.random.default_rng(5)
    ability = generator.normal(0, 1.5, LEARNERS).repeat(ANSWERS)
    right = generator.random(LEARNERS * ANSWERS) < 1 / (1 + np.exp(-ability))
    hints = generator.integers(0, 3, LEARNERS * ANSWERS)
    events = pl.DataFrame(
        {
            "learner_id": [f"l{row // ANSWERS}" for row in range(LEARNERS * ANSWERS)],
            "unit_id": [f"u{row}" for row in generator.integers(0, UNITS, LEARNERS * ANSWERS)],
            "time": [1 + row % ANSWERS for row in range(LEARNERS * ANSWERS)],
            "correct": right.astype(np.int8),
            "hints": [
                None if is_right else int(n) for is_right, n in zip(right, hints, strict=True)
            ],
        }
    )
    outcomes = events.filter(pl.col("time") > 1).select(
        "learner_id",
        "unit_id",
        pl.col("time").alias("as_of"),
        pl.when(pl.col("correct") == 1)
        .then(pl.lit("correct"))
        .otherwise(pl.lit("wrong"))
        .alias("answer"),
        (pl.col("time") % 3).alias("weekday"),
        pl.lit("nothing").alias("hint"),
    )
    return events, outcomes


@pytest.fixture
def configure(tmp_path: Path, answers: tuple[pl.DataFrame, pl.DataFrame]) -> Configure:
    """Returns a function that writes the log and configures it.

    Its arguments: sections to change, and `change`, a function of both tables.
    """

    def build(
        change: Callable[..., tuple[pl.DataFrame, pl.DataFrame]] = lambda *tables: tables,
        **sections: dict[str, Any],
    ) -> Config:
        for name, table in zip(("events", "outcomes"), change(*answers), strict=True):
            table.write_parquet(tmp_path / f"{name}.parquet")
        tables = {name: str(tmp_path / f"{name}.parquet") for name in ("events", "outcomes")}
        values: dict[str, dict[str, Any]] = {
            "data": {**tables, "splits": {"train": 2, "eval": 1, "test": 1}},
            "label": {"column": "answer", "classes": CLASSES},
            "steps": {
                "history": "learner",
                "max_steps": 8,
                "features": {
                    "step_unit": {"type": "categorical"},
                    "correct": {"type": "numeric"},
                    "hints": {"type": "numeric"},
                },
            },
            "context": {"unit_id": {"type": "categorical"}, "hint": {"type": "categorical"}},
            "evaluation": {"slices": ["weekday"]},
            "beam": {"partitions": 2},
        }
        for name, section in sections.items():
            values[name] = {**values.get(name, {}), **section}
        gates = [{"metric": "rmse" if values["label"].get("task") else "auc", "min": 0}]
        return Config.model_validate(
            {"name": "answers", "schema": "none.pbtxt", "gates": gates, **values}
        )

    return build


def on_calendar(events: pl.DataFrame, outcomes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the log with times of a calendar in place of numbers."""

    def at(name: str) -> pl.Expr:
        days = [datetime(2026, 3, 28, tzinfo=UTC) + timedelta(days=day) for day in range(40)]
        return pl.col(name).replace_strict([*range(40)], days).alias(name)

    return events.with_columns(at("time")), outcomes.with_columns(at("as_of"))


def in_fractions(events: pl.DataFrame, outcomes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the log with times that are not whole."""
    times = events.with_columns(pl.col("time") / 8)
    return times, outcomes.with_columns(pl.col("as_of") / 8)
