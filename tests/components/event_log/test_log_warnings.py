"""Oddities of a log are reported as warnings and do not stop a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from components.config import Config
from components.event_log.log import check_log

Configure = Callable[..., Config]


Write = Callable[..., None]


def test_warns_of_ids_that_are_not_what_they_seem(
    write: Write, configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    def rename(name: str, other: str) -> pl.Expr:
        return (
            pl.when(pl.col("learner_id") == name)
            .then(pl.lit(other))
            .otherwise("learner_id")
            .alias("learner_id")
        )

    write(
        events.with_columns(rename("l3", "l3\u00a0"))
        .with_columns(rename("l4", "5.0"))
        .with_columns(rename("l5", "NULL")),
        outcomes.with_columns(rename("l4", "5")),
    )
    warnings = check_log(configure(data={"max_cold_start_share": 0.5})).warnings
    assert [warning.rpartition("/tmp")[0] or warning for warning in warnings][1:] == [
        "events whose learner_id looks like a missing value (read as an id): 4, such as 'NULL' in ",
        "ids in learner_id that differ from another only by invisible characters (each counts as "
        "its own id): 1, "
        "such as 'l3\\xa0' beside 'l3'",
        "ids in learner_id that differ from another only in how a number is written (each counts "
        "as its own id): 1, "
        "such as '5.0' beside '5'",
    ]
    assert warnings[0] == (
        "events whose learner and unit have no outcome (not used): 12, "
        "such as learner '5.0', unit 'u'"
    )


def test_warns_of_events_that_are_there_twice(
    write: Write, configure: Configure, events: pl.DataFrame, tmp_path: Path
) -> None:
    write()
    pl.concat([events[:3], events[5:6].with_columns(dwell=0.0)]).write_csv(tmp_path / "more.csv")
    summary = check_log(
        configure(data={"events": [str(tmp_path / "events.parquet"), str(tmp_path / "more.csv")]})
    )
    assert summary.warnings == [
        "events that are copies of another, equal in every column that is read: 3, "
        "such as learner 'l0', unit 'u', time 0"
    ]
    assert summary.describe().splitlines()[-1] == f"warning   {summary.warnings[0]}"


@pytest.mark.parametrize(
    ("time", "as_of", "count"),
    [
        ("2024-03-05", "2024-03-05 12:00", 80),
        (
            "2024-03-05",
            "2024-03-05T00:30:00+01:00",
            80,
        ),  # midnight in Zurich is half an hour before
        ("2024-03-05", "2024-03-06", 0),
        ("2024-03-05 00:00:01", "2024-03-05 12:00", 0),
    ],
)
def test_warns_of_events_of_which_only_the_day_is_known(
    time: str,
    as_of: str,
    count: int,
    write: Write,
    configure: Configure,
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
) -> None:
    moments = outcomes.with_row_index().with_columns(
        unit_id=pl.format("u{}", pl.col("index") % 2), as_of=pl.lit(as_of)
    )
    write(
        events.with_columns(unit_id=pl.format("u{}", pl.col("time") % 2), time=pl.lit(time)),
        moments.drop("index"),
    )
    summary = check_log(configure(data={"timezone": "Europe/Zurich"}))
    told = [warning for warning in summary.warnings if "midnight" in warning]
    assert [warning.partition(", such as")[0].rpartition(": ")[2] for warning in told] == [
        str(count)
    ] * bool(count)


def test_warns_of_hours_that_were_twice(
    write: Write, configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame, tmp_path: Path
) -> None:
    write(
        events.with_columns(
            time=pl.lit("2024-10-27 0") + pl.col("time").cast(pl.String) + ":30:00"
        ),
        outcomes.with_columns(
            as_of=pl.lit("2024-10-27 0") + pl.col("as_of").cast(pl.String) + ":00:00"
        ),
    )
    summary = check_log(configure(data={"timezone": "Europe/Zurich"}))
    assert [warning.replace(f"{tmp_path}/", "") for warning in summary.warnings] == [
        "times in as_of that Europe/Zurich had twice, as its clocks went back (read as the first): "
        "40, "
        "such as '2024-10-27 02:00:00' in outcomes.parquet, row 1",
        "times in time that Europe/Zurich had twice, as its clocks went back (read as the first): "
        "40, "
        "such as '2024-10-27 02:30:00' in events.parquet, row 3",
    ]


def test_warns_where_a_folder_says_another_id_than_its_file(
    configure: Configure, write: Write, events: pl.DataFrame, tmp_path: Path
) -> None:
    write()
    for unit in ("u", "v"):
        (tmp_path / f"unit_id={unit}").mkdir()
    events[:80].write_csv(tmp_path / "unit_id=u" / "a.csv")
    events[80:].write_csv(tmp_path / "unit_id=v" / "a.csv")
    summary = check_log(configure(data={"events": str(tmp_path / "unit_id=*")}))
    assert [warning.replace(f"{tmp_path}/", "") for warning in summary.warnings] == [
        "events whose unit_id differs from the name of their folder (the column counts): 80, "
        "such as 'u' in unit_id=v/a.csv, line 2"
    ]


def test_says_why_learners_have_no_events(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(learner_id=pl.col("learner_id") + " "))
    [problem] = refuse()
    assert problem.endswith(
        "do both tables spell learner_id and unit_id the same?; ids in learner_id that differ from "
        "another only by "
        "invisible characters (each counts as its own id): 40, such as 'l0 ' beside 'l0'"
    )
