"""Logs without labels: for which learners, units and moments a prediction is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config import Config
from components.contracts.names import ORDER
from components.errors import LogError, MasteryError
from components.event_log.log import read_questions
from components.event_log.log_spec import question_spec

Configure = Callable[..., Config]
Write = Callable[..., None]


@pytest.fixture
def ask(write: Write, configure: Configure, tmp_path: Path) -> Callable[..., Any]:
    """Returns a function that asks about the log in the test's folder."""

    def ask_log(*, as_of: str | None = None, **changes: dict[str, Any]) -> Any:
        outcomes = [] if as_of else [str(tmp_path / "outcomes.parquet")]
        config = configure(**changes)
        return read_questions(config, [str(tmp_path / "events.parquet")], outcomes, as_of=as_of)

    write()
    return ask_log


def test_a_table_of_questions_needs_no_label(
    ask: Callable[..., Any], write: Write, outcomes: pl.DataFrame
) -> None:
    write(outcomes=outcomes.drop("mastery", "age"))
    part = ask()
    assert part.outcomes.height == 80
    assert sorted(part.outcomes[ORDER]) == list(range(1, 81))
    assert sorted(part.windows.num_steps) == [2] * 40 + [3] * 40


def test_one_moment_asks_about_every_learner_and_unit(
    ask: Callable[..., Any], write: Write, events: pl.DataFrame
) -> None:
    write(events=events.with_columns(unit_id=pl.format("u{}", pl.col("time") % 2)))
    part = ask(as_of="3")
    assert part.outcomes.height == 80
    assert set(part.outcomes["as_of"]) == {3}
    assert sorted(part.windows.num_steps) == [1] * 40 + [2] * 40


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("yesterday", "a number, or a timestamp such as "),
        ("1e300", "a number from "),
        ("2024-03-31 02:30", "a time that exists in Europe/Zurich"),
    ],
)
def test_a_moment_that_is_not_a_time(ask: Callable[..., Any], as_of: str, expected: str) -> None:
    with pytest.raises(MasteryError, match=f"^as_of: expected {expected}.*, found '{as_of}'"):
        ask(as_of=as_of, data={"timezone": "Europe/Zurich"})


def test_a_moment_of_another_clock_than_the_events(ask: Callable[..., Any]) -> None:
    with pytest.raises(LogError, match=r"timestamps in as_of \(1, first .* in as_of\)"):
        ask(as_of="2024-05-01")


def test_a_moment_is_not_enough_if_the_model_reads_outcomes(ask: Callable[..., Any]) -> None:
    with pytest.raises(MasteryError, match=r"^as_of: this model also reads level, which"):
        ask(as_of="3", context={"level": {"type": "numeric"}})


@pytest.mark.parametrize(("outcomes", "as_of"), [([], None), (["outcomes.csv"], "3")])
def test_either_a_table_or_a_moment(
    configure: Configure, outcomes: list[str], as_of: str | None
) -> None:
    with pytest.raises(MasteryError, match="expected either outcomes or as_of"):
        read_questions(configure(), ["events.csv"], outcomes, as_of=as_of)


def test_events_without_rows_are_an_error(
    ask: Callable[..., Any], write: Write, events: pl.DataFrame
) -> None:
    write(events=events.clear())
    with pytest.raises(LogError, match=r"data\.events: expected at least one row"):
        ask(as_of="3")


def test_a_question_that_is_asked_twice_is_an_error(
    ask: Callable[..., Any], write: Write, outcomes: pl.DataFrame
) -> None:
    write(outcomes=pl.concat([outcomes, outcomes[:1]]))
    with pytest.raises(LogError, match="expected one row per learner, unit and as_of"):
        ask()


def test_columns_that_only_slice_are_not_read(configure: Configure) -> None:
    spec = question_spec(configure(context={"level": {"type": "numeric"}}))
    assert spec.outcome_columns == ["level"]
    assert spec.label.task == "regression"
