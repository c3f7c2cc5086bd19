"""Every bad log is reported with file, row or column, the expected and the found value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from components.config import Config
from components.errors import LogError
from components.event_log.log import check_log

Configure = Callable[..., Config]


Write = Callable[..., None]


def test_missing_file(write: Write, refuse: Callable[..., list[str]], tmp_path: Path) -> None:
    write()
    (tmp_path / "events.parquet").unlink()
    assert refuse() == [
        "events.parquet: expected a file or folder of events, found none; the folder holds "
        "outcomes.parquet"
    ]


def test_missing_column_with_a_near_miss(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    write(events.rename({"dwell": "Dwel"}), outcomes.rename({"mastery": "label"}))
    assert refuse() == [
        "events.parquet: expected a column 'dwell' in events, "
        "found the columns learner_id, unit_id, time, event_type, Dwel; did you mean Dwel?",
        "outcomes.parquet: expected a column 'mastery' in outcomes, "
        "found the columns learner_id, unit_id, as_of, label, age",
    ]


def test_problems_of_renamed_columns_use_the_names_of_the_log(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.rename({"time": "ts"}).with_columns(ts=pl.lit(None, dtype=pl.Int64)))
    problem = refuse(data={"columns": {"time": "ts"}})[0]
    assert problem == (
        "events.parquet, row 1, column ts: expected a time in every row, found nothing; also in "
        "row 2, 3 and 157 more"
    )


def test_wrong_type_of_a_column(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(dwell=pl.concat_list("dwell"), learner_id=pl.col("dwell")))
    assert refuse() == [
        "events.parquet, column dwell: expected numbers, found List(Float64), such as [0.0]",
        "events.parquet, column learner_id: expected text or integers, found Float64, such as 0.0",
    ]


def test_a_number_that_is_a_time_of_an_impossible_year(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(dwell=pl.lit(1709571155000000).cast(pl.Datetime("ms"))))
    assert refuse() == [
        "events.parquet, column dwell: expected numbers, found Datetime(time_unit='ms', "
        "time_zone=None), "
        "such as a time of the year 56144 (1709571155000000 in ms)"
    ]


def test_wrong_type_of_a_value(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(dwell=pl.col("dwell").cast(pl.String).replace("7.0", "seven")))
    assert refuse() == [
        "events.parquet, row 8, column dwell: expected a number, or nothing for a missing one, "
        "found 'seven'"
    ]


def test_unparsable_time(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(time=pl.col("time").cast(pl.String).replace("3", "yesterday")))
    assert refuse() == [
        "events.parquet, row 4, column time: expected a number, or a timestamp such as "
        "2024-05-01T12:00:00+02:00 "
        "with a year of four digits (without offset: UTC time), found 'yesterday'; also in row 8, "
        "12 and 37 more"
    ]


@pytest.mark.parametrize(("value", "found"), [(None, "nothing"), ("", "''")])
def test_null_key(
    value: str | None,
    found: str,
    write: Write,
    refuse: Callable[..., list[str]],
    events: pl.DataFrame,
) -> None:
    write(
        events.with_columns(
            unit_id=pl.when(pl.col("dwell") == 4).then(pl.lit(value)).otherwise("unit_id")
        )
    )
    assert refuse() == [
        f"events.parquet, row 5, column unit_id: expected a value in every row, found {found}"
    ]


def test_two_kinds_of_clock(
    write: Write, refuse: Callable[..., list[str]], outcomes: pl.DataFrame
) -> None:
    write(outcomes=outcomes.with_columns(as_of=pl.lit(datetime(2024, 1, 1))))  # noqa: DTZ001
    assert refuse() == [
        "the log: expected one kind of time in time and as_of, "
        "found plain numbers in time (160, first 0 in row 1 of events.parquet) "
        "and timestamps in as_of (80, first 2024-01-01T00:00:00.000000 in row 1 of "
        "outcomes.parquet)"
    ]


def test_outcomes_without_events(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.filter(pl.col("dwell") >= 48))
    assert refuse() == [
        "the log: expected at most 5.0% of outcomes without events (data.max_cold_start_share), "
        "found 24 of 80 (30.0%) with no event of their learner and unit before as_of; "
        "24 have no event at all: do both tables spell learner_id and unit_id the same?"
    ]


def test_events_after_as_of_only(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(pl.col("time") + 1000))
    assert refuse(data={"max_cold_start_share": 1.0}) == [
        "the log: expected events before as_of for at least some outcomes, found none for any of "
        "the 80 outcomes; "
        "80 of them have events, but all at or after as_of: "
        "do time and as_of use the same clock, and is data.timezone (UTC) right?"
    ]


def test_duplicate_outcomes_within_a_file_and_across_files(
    write: Write, refuse: Callable[..., list[str]], outcomes: pl.DataFrame, tmp_path: Path
) -> None:
    write(outcomes=pl.concat([outcomes, outcomes[3:4]]))
    outcomes[:1].write_csv(tmp_path / "more.csv")
    problems = refuse(
        data={"outcomes": [str(tmp_path / "outcomes.parquet"), str(tmp_path / "more.csv")]}
    )
    assert problems == [
        "more.csv, line 2: expected one row per learner, unit and as_of, "
        "found learner 'l0', unit 'u', as_of 2 again, after row 1 of outcomes.parquet",
        "outcomes.parquet, row 81: expected one row per learner, unit and as_of, "
        "found learner 'l1', unit 'u', as_of 4 again, after row 4 of outcomes.parquet",
    ]


def test_label_outside_the_classes_and_null_label(
    write: Write, refuse: Callable[..., list[str]], outcomes: pl.DataFrame
) -> None:
    labels = pl.Series("mastery", ["High", None, *outcomes["mastery"][2:]])
    write(outcomes=outcomes.with_columns(labels))
    assert refuse() == [
        "outcomes.parquet, row 1, column mastery: expected one of the classes low, high "
        "(label.classes), found 'High'",
        "outcomes.parquet, row 2, column mastery: expected a label in every row, found nothing",
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "a label in every row"), (float("inf"), "a finite number")]
)
def test_score_that_is_no_number(
    value: float | None,
    expected: str,
    write: Write,
    refuse: Callable[..., list[str]],
    outcomes: pl.DataFrame,
) -> None:
    write(
        outcomes=outcomes.with_columns(mastery=pl.Series([value, *([0.5] * 79)], dtype=pl.Float64))
    )
    problem = refuse(label={"task": "regression", "classes": []})[0]
    assert problem.startswith(
        f"outcomes.parquet, row 1, column mastery: expected {expected}, found "
    )


def test_class_with_too_few_examples_for_a_split(
    write: Write, refuse: Callable[..., list[str]], configure: Configure
) -> None:
    write()
    counts = check_log(configure()).splits
    problems = refuse(data={"min_class_examples": 20})
    assert problems == [
        "the log: expected at least 20 examples of every class in every split "
        "(data.min_class_examples), "
        f"found {counts['eval']['low']} of 'low' in eval, {counts['eval']['high']} of 'high' in "
        "eval, "
        f"{counts['test']['low']} of 'low' in test, {counts['test']['high']} of 'high' in test; "
        "use a longer log, other shares or another seed (data.splits)"
    ]


def test_empty_log(write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame) -> None:
    write(events.clear())
    assert refuse() == ["data.events: expected at least one row, found none"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinite_numbers(
    value: float, write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(dwell=pl.when(pl.col("dwell") == 9).then(value).otherwise("dwell")))
    (problem,) = refuse()
    assert problem.startswith("events.parquet, row 10, column dwell: expected a ")
    assert problem.endswith(f"found {value}")


def test_a_cause_that_many_files_share_is_reported_once(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame, tmp_path: Path
) -> None:
    write()
    (tmp_path / "many").mkdir()
    for (learner,), rows in events.group_by("learner_id"):
        rows.drop("learner_id").write_csv(tmp_path / "many" / f"{learner}.csv")
    assert refuse(data={"events": str(tmp_path / "many")}) == [
        "many/l0.csv: expected a column 'learner_id' in events, found the columns unit_id, time, "
        "event_type, dwell; "
        "also in 39 more files (l1.csv, l10.csv, l11.csv, ...); "
        "if learner_id is in the names of the files, write it into a column"
    ]
    for file in (tmp_path / "many").iterdir():
        file.write_text("learner_id,unit_id,time,event_type,dwell\nl0,u,1,quiz,much\n")
    assert refuse(data={"events": str(tmp_path / "many")}) == [
        "many/l0.csv, line 2, column dwell: expected a number, or nothing for a missing one, found "
        "'much'; "
        "also in 39 more files (l1.csv, l10.csv, l11.csv, ...)"
    ]


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (lambda text: text.replace(",", ";"), "dwell; separate the fields by commas"),
        (lambda text: text.split("\n", 1)[1], "the first line has to name the columns"),
        (
            lambda text: text.replace("_id", " ID", 2),
            "dwell; did you mean learner ID?; did you mean unit ID?",
        ),
    ],
)
def test_all_missing_columns_are_one_problem_with_its_cause(
    spoil: Callable[[str], str],
    advice: str,
    write: Write,
    refuse: Callable[..., list[str]],
    events: pl.DataFrame,
    tmp_path: Path,
) -> None:
    write()
    (tmp_path / "events.csv").write_text(spoil(events.write_csv()))
    (problem,) = refuse(data={"events": str(tmp_path / "events.csv")})
    assert problem.startswith("events.csv: expected the columns 'learner_id', 'unit_id'")
    assert advice in problem


def test_all_problems_are_reported_at_once_and_twenty_are_shown(
    write: Write, configure: Configure, events: pl.DataFrame, tmp_path: Path
) -> None:
    write()
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(25):
        events.rename({"dwell": f"dwell_{number:02}"}).write_csv(folder / f"{number:02}.csv")
    with pytest.raises(LogError) as error:
        check_log(configure(data={"events": str(folder)}))
    first, *lines, last = str(error.value).splitlines()
    assert first == "The log has 25 problems:"
    assert len(lines) == 20
    assert f"{folder}/19.csv: expected a column 'dwell' in events" in lines[-1]
    assert last == "  and 5 more"


@pytest.mark.parametrize("name", ["time", "as_of"])
def test_one_file_in_another_unit(
    name: str,
    write: Write,
    refuse: Callable[..., list[str]],
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    tmp_path: Path,
) -> None:
    epochs = {"time": pl.col("time") + 1_700_000_000, "as_of": pl.col("as_of") + 1_700_000_000}
    table, frame = ("events", events) if name == "time" else ("outcomes", outcomes)
    write(events.with_columns(time=epochs["time"]), outcomes.with_columns(as_of=epochs["as_of"]))
    frame = frame.with_columns(epochs[name] * 1000)
    frame.with_columns(learner_id="m" + pl.col("learner_id")).write_csv(tmp_path / "more.csv")
    [problem] = refuse(
        data={table: [str(tmp_path / f"{table}.parquet"), str(tmp_path / "more.csv")]}
    )
    assert f"seconds since 1970 in {name} ({len(frame)}, first" in problem
    assert f"milliseconds since 1970 in {name} ({len(frame)}, first" in problem
    assert "in line 2 of more.csv)" in problem


def test_no_time_of_an_impossible_year(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(time=(pl.col("time") + 1709571155000000).cast(pl.Datetime("ms"))))
    assert refuse() == [
        "events.parquet, row 1, column time: expected a time from 1900 to 9999, "
        "found a time of the year 56144 (1709571155000000 in ms); also in row 2, 3 and 157 more"
    ]


def test_a_context_value_that_is_not_a_number_is_an_error(
    write: Write, refuse: Callable[..., list[str]], outcomes: pl.DataFrame
) -> None:
    write(
        outcomes=outcomes.with_columns(
            level=pl.when(pl.col("age") == 23).then(pl.lit("--")).otherwise(pl.lit("7"))
        )
    )
    [problem] = refuse(context={"level": {"type": "numeric"}})
    assert problem.startswith(
        "outcomes.parquet, row 4, column level: expected a number, or nothing for a missing one, "
        "found '--'; also in"
    )


@pytest.mark.parametrize("name", ["dwell", "age", "level", "mastery"])
def test_a_number_that_would_be_infinite_as_float32_is_named(
    name: str,
    write: Write,
    refuse: Callable[..., list[str]],
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
) -> None:
    outcomes = outcomes.with_columns(level=1.0, mastery=0.5)
    large = pl.when(pl.int_range(pl.len()) == 4).then(-1e39).otherwise(0.5).alias(name)
    write(
        *(
            frame.with_columns(large) if name in frame.columns else frame
            for frame in (events, outcomes)
        )
    )
    [problem] = refuse(
        label={"task": "regression", "classes": []}, context={"level": {"type": "numeric"}}
    )
    assert problem.endswith(
        f"row 5, column {name}: expected a number from -3.4e+38 to 3.4e+38, which fits into 32 "
        "bits, found -1e+39"
    )


def test_only_some_of_many_columns_are_listed(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    extra = [pl.lit(0).alias(f"extra_{number}") for number in range(40)]
    write(events.drop("dwell").with_columns(*extra, pl.lit(0).alias("x" * 200)))
    [problem] = refuse()
    assert problem.endswith("extra_24, extra_25 and 15 more")
