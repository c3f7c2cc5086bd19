"""A platform week by week: what is in each delivery, and in which folder."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.contracts.simulation import Simulation
from components.errors import MasteryError
from components.simulator import weeks as by_week
from components.simulator.changes import Change
from components.simulator.simulate import simulate
from components.simulator.weeks import draw_week, monday_of

LEARNERS, WEEKS, CHANGE = 60, 4, "relation:3"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    simulate(LEARNERS, 5, folder, weeks=WEEKS, changes=[CHANGE])
    return folder


def read(log: Path, week: int, table: str) -> pl.DataFrame:
    return pl.read_parquet(log / monday_of(week).isoformat() / f"{table}.parquet")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_each_week_is_a_folder_by_its_monday(log: Path) -> None:
    mondays = [date(2026, 1, 5) + timedelta(weeks=week) for week in range(WEEKS)]
    assert {path.name for path in log.iterdir()} == {
        *(monday.isoformat() for monday in mondays),
        Simulation.FILE,
    }
    assert all(monday.weekday() == 0 for monday in mondays)


def test_the_same_arguments_write_the_same_bytes(log: Path, tmp_path: Path) -> None:
    again = simulate(LEARNERS, 5, tmp_path, weeks=WEEKS, changes=[CHANGE])
    assert files(tmp_path) == files(log)
    assert again.written
    assert not simulate(LEARNERS, 5, tmp_path, weeks=WEEKS, changes=[CHANGE]).written
    assert again.learners == LEARNERS * WEEKS
    assert "wrote 4 weeks, " in again.describe()
    assert again.outcomes == sum(read(log, week, "outcomes").height for week in (1, 2, 3, 4))


def test_weeks_before_a_change_and_of_a_longer_log_are_the_same(log: Path, tmp_path: Path) -> None:
    simulate(LEARNERS, 5, tmp_path, weeks=WEEKS + 1)
    plain, changed = files(tmp_path), files(log)
    for week in range(1, WEEKS + 1):
        name = f"{monday_of(week).isoformat()}/events.parquet"
        assert (plain[name] == changed[name]) == (week < 3)


def test_outcomes_are_of_the_week_and_see_only_what_came_before(log: Path) -> None:
    for week in range(1, WEEKS + 1):
        events, outcomes = (read(log, week, table) for table in ("events", "outcomes"))
        monday = pl.lit(monday_of(week)).cast(pl.Datetime("us", "UTC"))
        next_monday = monday.dt.offset_by("7d")
        assert outcomes.select(pl.col("as_of").is_between(monday, next_monday).all()).item()
        assert events.select((pl.col("time") < next_monday).all()).item()
        assert events["time"].is_sorted()

        joined = events.join(outcomes, on=["learner_id", "unit_id"], how="left")
        assert joined["as_of"].null_count() == 0
        before = joined.filter(pl.col("time") < pl.col("as_of"))
        assert before.group_by("learner_id", "unit_id").len()["len"].min() >= 10  # type: ignore[operator]
        assert 0 < joined.filter(pl.col("time") > pl.col("as_of")).height < 0.2 * joined.height


def test_the_first_day_moves_all_weeks(log: Path, tmp_path: Path) -> None:
    simulate(LEARNERS, 5, tmp_path, weeks=2, first_day=date(2025, 3, 3))
    moved = pl.read_parquet(tmp_path / "2025-03-10" / "events.parquet")
    there = read(log, 2, "events")
    apart = pl.lit(date(2026, 1, 12) - date(2025, 3, 10))
    assert moved.with_columns(pl.col("time") + apart).equals(there)


def test_no_learner_comes_twice(log: Path) -> None:
    seen = [set(read(log, week, "outcomes")["learner_id"]) for week in range(1, WEEKS + 1)]
    assert [len(learners) for learners in seen] == [LEARNERS] * WEEKS
    assert len(set.union(*seen)) == LEARNERS * WEEKS
    for week, learners in enumerate(seen, 1):
        assert set(read(log, week, "events")["learner_id"]) <= learners


def test_moving_a_sequence_into_its_week_changes_nothing_else() -> None:
    [first] = draw_week(5, 1, 500)
    [again] = draw_week(5, 1, 500)
    np.testing.assert_array_equal(first.sequences.time, again.sequences.time)
    waits = np.diff(first.sequences.time, axis=1)
    apart = np.arange(waits.shape[1]) != first.sequences.before[:, None] - 1
    np.testing.assert_allclose(waits[apart], first.sequences.wait[:, :-1][apart], atol=1e-5)
    rows = np.arange(len(waits))
    assert (first.sequences.time[rows, first.sequences.before - 1] < first.sequences.as_of).all()


def test_learners_of_weeks_are_others_than_those_of_a_log_with_the_same_seed() -> None:
    from components.simulator.sequences import draw

    [week] = draw_week(5, 1, 500)
    plain = draw(5, 0)
    assert not np.array_equal(week.sequences.dwell[:50], plain.dwell[:50], equal_nan=True)


def test_many_learners_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_week, "MOST_OF_CHUNK", 300)
    parts = [*draw_week(5, 2, 700, [Change("intake", 2)])]
    counts = [len(np.unique(part.sequences.learner)) for part in parts]
    assert counts == [300, 300, 100]
    assert len(set().union(*(part.sequences.learner.tolist() for part in parts))) == 700


def test_another_log_takes_the_place_of_all_weeks(tmp_path: Path) -> None:
    simulate(20, 5, tmp_path, weeks=3)
    (tmp_path / "2026-01-19" / "notes.txt").write_text("mine")
    with pytest.raises(MasteryError, match="holds another log"):
        simulate(20, 5, tmp_path, weeks=2)
    simulate(20, 5, tmp_path, overwrite=True)
    assert {*files(tmp_path)} == {
        "events.parquet", "outcomes.parquet", Simulation.FILE, "2026-01-19/notes.txt",
    }  # fmt: skip
    assert not (tmp_path / "2026-01-05").exists()


def test_deliveries_are_written_as_text_too(tmp_path: Path) -> None:
    simulate(20, 5, tmp_path, weeks=2, format="csv")
    table = pl.read_csv(tmp_path / "2026-01-12" / "outcomes.csv")
    assert table["learner_id"].n_unique() == 20


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"weeks": 0}, "--weeks: expected one week or more, found 0"),
        ({"changes": ["intake:2"]}, "--change: expected --weeks with it"),
        ({"first_day": date(2025, 1, 6)}, "--first-day: expected --weeks with it"),
        ({"weeks": 2, "format": "xapi"}, "--weeks: expected one of the formats parquet, csv"),
        ({"weeks": 2, "changes": ["intake:3"]}, "expected a week from 1 to 2, found 3"),
        ({"weeks": 2, "learners": 200_001}, "expected at most 200,000 new ones"),
    ],
)
def test_what_cannot_be_written_is_explained(
    tmp_path: Path, options: dict[str, object], found: str
) -> None:
    arguments = {"learners": 20, "seed": 5, "out": tmp_path / "log", **options}
    with pytest.raises(MasteryError, match=found):
        simulate(**arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "log").exists()
