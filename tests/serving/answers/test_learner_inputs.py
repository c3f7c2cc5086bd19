"""A learner's inputs, made again, have the hashes under which the server logged them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from components.config import Config
from components.contracts.left_out import LeftOutList
from serving.answers.learner_inputs import input_hashes
from serving.predict import questions_from_log
from tests.serving.answers.scoring.conftest import CONFIG, at, events


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A log in which every learner has one outcome, and nobody may be used."""
    events().write_parquet(tmp_path / "events.parquet")
    pl.DataFrame(
        {
            "learner_id": [f"l{row}" for row in range(9)],
            "unit_id": ["unit-0"] * 9,
            "as_of": [at(days=4)] * 9,
            "level": [float(row) for row in range(9)],
            "mastery": [["low", "middle", "high"][row % 3] for row in range(9)],
        }
    ).write_parquet(tmp_path / "outcomes.parquet")
    listed = LeftOutList.empty().adding(["l3"], "opted out").write(tmp_path)
    log = {
        "events": [str(tmp_path / "events.parquet")],
        "outcomes": [str(tmp_path / "outcomes.parquet")],
        "left_out": str(listed),
    }
    return CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update=log)})


def logged(config: Config, rows: pl.DataFrame, folder: Path) -> list[str]:
    """Returns the hashes that a server logs for questions, in their order."""
    rows.write_parquet(folder / "asked.parquet")
    plain = config.model_copy(update={"data": config.data.model_copy(update={"left_out": None})})
    questions = questions_from_log(plain, config.data.events, [str(folder / "asked.parquet")])
    return [hashlib.sha256(example).hexdigest() for example in questions.examples]


def test_outcomes_and_scorings_are_found(config: Config, tmp_path: Path) -> None:
    asked = [("unit-1", at(days=5)), ("unit-0", at(days=9))]
    rows = pl.DataFrame(
        {
            "learner_id": ["l3"] * 3,
            "unit_id": ["unit-0", *(unit for unit, _ in asked)],
            "as_of": [at(days=4), *(moment for _, moment in asked)],
            "level": [3.0] * 3,
        }
    )
    expected = logged(config, rows, tmp_path)
    assert len(set(expected)) == 3
    assert input_hashes(config, "l3", asked) == set(expected)
    assert input_hashes(config, "l3", []) == {expected[0]}


def test_a_learner_who_is_unknown_has_none(config: Config) -> None:
    assert input_hashes(config, "nobody", []) == set()


def test_scorings_of_a_learner_without_an_outcome_are_found(config: Config, tmp_path: Path) -> None:
    table = Path(config.data.outcome_files[0])
    pl.read_parquet(table).filter(pl.col("learner_id") != "l3").write_parquet(table)
    rows = pl.DataFrame({"learner_id": ["l3"], "unit_id": ["unit-0"], "as_of": [at(days=5)]})
    rows = rows.with_columns(level=pl.lit(None, pl.Float64))
    assert input_hashes(config, "l3", [("unit-0", at(days=5))]) == {*logged(config, rows, tmp_path)}
