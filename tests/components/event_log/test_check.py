"""Every bad log is told with the file, the row or column, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from components.config import Config
from components.errors import LogError
from components.event_log.log import check_log, read_log

Configure = Callable[..., Config]
Write = Callable[..., None]


@pytest.fixture
def refuse(configure: Configure, tmp_path: Path) -> Callable[..., list[str]]:
    """Returns a function that checks a log and returns its problems, with the test's folder left out of paths."""

    def check(**changes: dict[str, Any]) -> list[str]:
        with pytest.raises(LogError) as error:
            check_log(configure(**changes))
        return [problem.replace(f"{tmp_path}/", "") for problem in error.value.problems]

    return check


def test_says_what_is_in_a_good_log(write: Write, configure: Configure) -> None:
    write()
    summary = check_log(configure())

    assert (summary.events, summary.outcomes, summary.learners, summary.units) == (160, 80, 40, 1)
    assert (
        summary.first_event,
        summary.last_event,
        summary.first_outcome,
        summary.last_outcome,
    ) == (
        "0",
        "3",
        "2",
        "4",
    )
    assert summary.steps == {"0%": 2, "25%": 2, "50%": 2, "75%": 3, "95%": 3, "100%": 3}
    assert summary.truncated == 40
    assert sum(count for split in summary.splits.values() for count in split.values()) == 80
    assert "outcomes            80   as of 2 to 4" in summary.describe()


def test_says_which_spans_it_has_read(write: Write, configure: Configure, tmp_path: Path) -> None:
    write()
    for table in ("events", "outcomes"):
        (tmp_path / f"{table}.parquet").rename(tmp_path / f"{table}-2026-11-20.parquet")
    dated = {
        table: f"{tmp_path}/{table}-{{YYYY}}-{{MM}}-{{DD}}.parquet"
        for table in ("events", "outcomes")
    }
    told = check_log(configure(data={**dated, "span": "last:7"})).describe()
    assert told.splitlines()[0] == "spans     2026-11-20"


def test_missing_file(write: Write, refuse: Callable[..., list[str]], tmp_path: Path) -> None:
    write()
    (tmp_path / "events.parquet").unlink()
    assert refuse() == [
        "events.parquet: expected a file or folder of events, found no such file; the folder has outcomes.parquet"
    ]


def test_missing_column_with_a_near_miss(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    write(events.rename({"dwell": "Dwel"}), outcomes.rename({"mastery": "label"}))
    assert refuse() == [
        "events.parquet: expected a column 'dwell' in events, "
        "found the columns learner_id, unit_id, time, event_type, Dwel (did you mean 'Dwel'?)",
        "outcomes.parquet: expected a column 'mastery' in outcomes, "
        "found the columns learner_id, unit_id, as_of, label, age",
    ]


def test_renamed_columns_are_told_by_the_names_the_log_uses(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.rename({"time": "ts"}).with_columns(ts=pl.lit(None, dtype=pl.Int64)))
    problem = refuse(data={"columns": {"time": "ts"}})[0]
    assert problem == (
        "events.parquet, row 1, column ts: expected a time in every row, found nothing; so too in row 2, 3 and 157 more"
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
        "events.parquet, column dwell: expected numbers, found Datetime(time_unit='ms', time_zone=None), "
        "such as a time of the year 56144 (1709571155000000 in ms)"
    ]


def test_wrong_type_of_a_value(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(dwell=pl.col("dwell").cast(pl.String).replace("7.0", "seven")))
    assert refuse() == [
        "events.parquet, row 8, column dwell: expected a number, or nothing for a missing one, found 'seven'"
    ]


def test_unparsable_time(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(time=pl.col("time").cast(pl.String).replace("3", "yesterday")))
    assert refuse() == [
        "events.parquet, row 4, column time: expected a number, or a timestamp such as 2024-05-01T12:00:00+02:00 "
        "with a year of four digits (without offset: UTC time), found 'yesterday'; so too in row 8, 12 and 37 more"
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
        "and timestamps in as_of (80, first 2024-01-01T00:00:00.000000 in row 1 of outcomes.parquet)"
    ]


def test_outcomes_without_events(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.filter(pl.col("dwell") >= 48))
    assert refuse() == [
        "the log: expected at most 5.0% of outcomes without events (data.max_cold_start_share), "
        "found 24 of 80 (30.0%) with no event of their learner and unit before as_of; "
        "24 have no event at all: do both tables write learner_id and unit_id alike?"
    ]


def test_cold_starts_up_to_the_configured_share(
    write: Write, configure: Configure, events: pl.DataFrame
) -> None:
    write(events.filter(pl.col("dwell") >= 48))
    assert check_log(configure(data={"max_cold_start_share": 0.3})).cold_starts == 24


def test_events_after_as_of_only(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(pl.col("time") + 1000))
    assert refuse(data={"max_cold_start_share": 1.0}) == [
        "the log: expected events before as_of for at least some outcomes, found none for any of the 80 outcomes; "
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
        "outcomes.parquet, row 1, column mastery: expected one of the classes low, high (label.classes), found 'High'",
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
        "the log: expected at least 20 examples of every class in every split (data.min_class_examples), "
        f"found {counts['eval']['low']} of 'low' in eval, {counts['eval']['high']} of 'high' in eval, "
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


def test_nan_as_missing(write: Write, configure: Configure, events: pl.DataFrame) -> None:
    write(
        events.with_columns(
            dwell=pl.when(pl.col("dwell") == 9).then(float("nan")).otherwise("dwell")
        )
    )
    assert check_log(configure(data={"nan_as_missing": True})).events == 160


def test_one_cause_is_told_once_however_many_files_have_it(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame, tmp_path: Path
) -> None:
    write()
    (tmp_path / "many").mkdir()
    for (learner,), rows in events.group_by("learner_id"):
        rows.drop("learner_id").write_csv(tmp_path / "many" / f"{learner}.csv")
    assert refuse(data={"events": str(tmp_path / "many")}) == [
        "many/l0.csv: expected a column 'learner_id' in events, found the columns unit_id, time, event_type, dwell; "
        "so too in 39 more files (l1.csv, l10.csv, l11.csv, ...); "
        "if learner_id is in the names of the files, write it into a column"
    ]
    for file in (tmp_path / "many").iterdir():
        file.write_text("learner_id,unit_id,time,event_type,dwell\nl0,u,1,quiz,much\n")
    assert refuse(data={"events": str(tmp_path / "many")}) == [
        "many/l0.csv, line 2, column dwell: expected a number, or nothing for a missing one, found 'much'; "
        "so too in 39 more files (l1.csv, l10.csv, l11.csv, ...)"
    ]


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (lambda text: text.replace(",", ";"), "dwell; separate the fields by commas"),
        (
            lambda text: "sep=,\n" + text,
            "found the columns sep=, ; remove this line, which is Excel's own",
        ),
        (lambda text: text.split("\n", 1)[1], "the first line has to name the columns"),
        (lambda text: text.replace("_id", " ID", 2), "(did you mean 'learner ID', 'unit ID'?)"),
    ],
)
def test_all_missing_columns_are_one_problem_with_its_cause(
    spoil: Callable[[str], str], advice: str, write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame,
    tmp_path: Path,
) -> None:  # fmt: skip
    write()
    (tmp_path / "events.csv").write_text(spoil(events.write_csv()))
    (problem,) = refuse(data={"events": str(tmp_path / "events.csv")})
    assert problem.startswith("events.csv: expected the columns 'learner_id', 'unit_id'")
    assert advice in problem


def test_lines_are_held_against_rows_and_what_is_passed_over_is_told(
    write: Write, configure: Configure, events: pl.DataFrame, tmp_path: Path
) -> None:
    write()
    folder = tmp_path / "days" / "unit_id=u"
    folder.mkdir(parents=True)
    noted = events.drop("unit_id").with_columns(note=pl.lit("one\ntwo"))
    noted[:100].write_csv(folder / "1.csv")
    noted[100:].drop("note").write_ndjson(folder / "2.jsonl")
    (folder / "2b.jsonl").symlink_to("2.jsonl")
    for name in ("3.csv", "_SUCCESS", ".1.csv.crc"):
        (folder / name).touch()
    summary = check_log(configure(data={"events": str(tmp_path / "days")}))
    assert summary.events == 160
    assert summary.lines == {"events": {"rows": 160, "header": 1, "within quotes": 100}}
    told = summary.describe().splitlines()
    assert "lines              261   of events: 160 rows, 1 header, 100 within quotes" in told
    assert (
        "not read  of events: 2 hidden or starting with _ (days/unit_id=u/.1.csv.crc, days/unit_id=u/_SUCCESS), "
        "1 read already under another name (days/unit_id=u/2b.jsonl), 1 empty (0 bytes) (days/unit_id=u/3.csv)"
    ) in told


def test_tells_everything_at_once_but_shows_no_more_than_twenty(
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


def test_compact_dates_are_dates(
    write: Write, configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    as_of = outcomes.with_columns(as_of=20240228120000 + pl.col("as_of"))
    write(events.with_columns(pl.col("time") + 20240226), as_of)
    summary = check_log(configure(data={"timezone": "Europe/Zurich"}))
    assert (summary.clock, summary.first_event) == ("timestamp", "2024-02-25T23:00:00+00:00")
    assert (summary.last_event, summary.first_outcome) == (
        "2024-02-28T23:00:00+00:00",
        "2024-02-28T11:00:02+00:00",
    )
    assert summary.steps["0%"] == 3

    write(events.with_columns(pl.col("time") + 20240227), as_of)
    with pytest.raises(LogError, match=r"numbers that are no date.* first 20240230 in row 4 of "):
        check_log(configure())


def test_no_time_of_an_impossible_year(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(time=(pl.col("time") + 1709571155000000).cast(pl.Datetime("ms"))))
    assert refuse() == [
        "events.parquet, row 1, column time: expected a time from 1900 to 9999, "
        "found a time of the year 56144 (1709571155000000 in ms); so too in row 2, 3 and 157 more"
    ]


def test_year_9999_as_int96_stays_in_the_future(
    configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame, tmp_path: Path
) -> None:
    far = pl.when(pl.col("time") == 1).then(datetime(9999, 12, 31)).otherwise(datetime(2024, 1, 1))  # noqa: DTZ001
    table = events.with_columns(time=far).to_arrow()
    pq.write_table(table, tmp_path / "events.parquet", use_deprecated_int96_timestamps=True)
    days = outcomes.with_columns(as_of=pl.datetime(2024, 2, pl.col("as_of")))
    days.write_parquet(tmp_path / "outcomes.parquet")
    summary = check_log(configure())
    assert summary.last_event == "9999-12-31T00:00:00+00:00"
    assert summary.steps == dict.fromkeys(summary.steps, 3)  # of four


def test_a_column_with_two_roles(
    configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame, tmp_path: Path
) -> None:
    paths = {table: str(tmp_path / f"{table}.csv") for table in ("events", "outcomes")}
    events.rename({"unit_id": "skill"}).write_csv(paths["events"])
    outcomes.rename({"unit_id": "skill"}).write_csv(paths["outcomes"])
    config = configure(
        data={**paths, "columns": {"unit_id": "skill"}},
        steps={"max_steps": 3, "features": {"skill": {"type": "categorical"}}},
    )
    part, total = read_log(config, splits=True, keys_only=False)
    assert total.units == {"u"}
    assert set(part.windows.events["skill"]) == {"u"}


def test_a_number_of_the_context_that_is_none_is_named(
    write: Write, refuse: Callable[..., list[str]], outcomes: pl.DataFrame
) -> None:
    write(
        outcomes=outcomes.with_columns(
            level=pl.when(pl.col("age") == 23).then(pl.lit("--")).otherwise(pl.lit("7"))
        )
    )
    [problem] = refuse(context={"level": {"type": "numeric"}})
    assert problem.startswith(
        "outcomes.parquet, row 4, column level: expected a number, or nothing for a missing one, found '--'; so too in"
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
        f"row 5, column {name}: expected a number from -3.4e+38 to 3.4e+38, which fits into 32 bits, found -1e+39"
    )


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
        "events with a learner_id that looks like a missing value (it is read as an id): 4, such as 'NULL' in ",
        "ids in learner_id that differ from another only by characters that nobody sees (each is an id of its own): 1, "
        "such as 'l3\\xa0' beside 'l3'",
        "ids in learner_id that differ from another only in how a number is written (each is an id of its own): 1, "
        "such as '5.0' beside '5'",
    ]
    assert warnings[0] == (
        "events of a learner and unit without an outcome (they are not used): 12, such as learner '5.0', unit 'u'"
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
        "events that are copies of another, alike in every column that is read: 3, "
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
        "times in as_of that Europe/Zurich had twice, as its clocks went back (the first counts): 40, "
        "such as '2024-10-27 02:00:00' in outcomes.parquet, row 1",
        "times in time that Europe/Zurich had twice, as its clocks went back (the first counts): 40, "
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
        "events with another unit_id than their folder is named after (the column counts): 80, "
        "such as 'u' in unit_id=v/a.csv, line 2"
    ]


def test_says_why_learners_have_no_events(
    write: Write, refuse: Callable[..., list[str]], events: pl.DataFrame
) -> None:
    write(events.with_columns(learner_id=pl.col("learner_id") + " "))
    [problem] = refuse()
    assert problem.endswith(
        "do both tables write learner_id and unit_id alike?; ids in learner_id that differ from another only by "
        "characters that nobody sees (each is an id of its own): 40, such as 'l0 ' beside 'l0'"
    )


@pytest.mark.parametrize("school", [["1", "2"], ["1.0", "2.0"], [1, 2], [1.0, 2.0]])
@pytest.mark.parametrize("as_csv", [True, False])
def test_a_category_is_the_same_whatever_its_type(
    school: list[Any],
    as_csv: bool,
    configure: Configure,
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    tmp_path: Path,
) -> None:
    events.with_columns(event_type=pl.Series(school * 80)).write_parquet(
        tmp_path / "events.parquet"
    )
    schools = outcomes.with_columns(school=pl.Series(school * 40))
    path = tmp_path / ("outcomes.csv" if as_csv else "outcomes.parquet")
    schools.write_csv(path) if as_csv else schools.write_parquet(path)
    config = configure(data={"outcomes": str(path)}, context={"school": {"type": "categorical"}})
    part, _ = read_log(config, splits=True, keys_only=False)
    assert set(part.outcomes["school"]) == {"1", "2"}
    assert set(part.windows.events["event_type"]) == {"1", "2"}
