"""The table beside derived outcomes, clocks, samples and messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config import Config
from components.errors import LogError, MasteryError
from components.event_log import shuffle
from components.event_log.known_outcomes import derive_outcomes, read_known_outcomes
from components.event_log.log import check_log, read_log
from components.example_gen.examples import examples_from_log

GRADES = ["fail", "pass"]
Derive = Callable[..., Config]
Refuse = Callable[..., list[str]]


@pytest.fixture
def derive(configure: Callable[..., Config], write: Callable[..., None]) -> Derive:
    """Returns a function that configures derived outcomes of the log of forty learners.

    Everybody has events at 0, 1, 2 and 3.
    """
    write()

    def build(data: dict[str, Any] | None = None, **outcomes: Any) -> Config:
        sections = {"data": {"outcomes": outcomes, "min_class_examples": 1, **(data or {})}}
        label = {"column": "grade", "classes": GRADES}
        return configure(**sections, label=label, evaluation={"slices": ["age"]})

    return build


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], str]:
    """Returns a function that writes the table, and returns its path."""

    def write_table(text: str) -> str:
        (tmp_path / "table.csv").write_text(text)
        return str(tmp_path / "table.csv")

    return write_table


def problems_of(config: Config, folder: Path) -> list[str]:
    """Returns why a log is refused."""
    with pytest.raises(LogError) as error:
        check_log(config)
    return [problem.replace(f"{folder}/", "") for problem in error.value.problems]


def grades(*rows: str, header: str = "learner_id,grade,age") -> str:
    """Returns a table with a grade for each learner, the first ones as given."""
    others = [f"l{number},{GRADES[number % 2]},{number}" for number in range(len(rows), 40)]
    return "\n".join([header, *rows, *others]) + "\n"


def test_text_grades_are_translated(derive: Derive, table: Callable[[str], str]) -> None:
    path = table(grades("l0,Distinction,30", "l1,Withdrawn,31", "l2,,32"))
    values = {"Distinction": "pass", "Withdrawn": None}
    config = derive(derive="grade", at=[2, 4], after="clock", until=9, table=path, values=values)
    summary = check_log(config)
    assert (summary.outcomes, summary.learners) == (76, 38)
    assert summary.unasked == {"no grade": 4}
    assert (summary.first_outcome, summary.last_outcome) == ("2", "4")
    assert "derived; none for 4 questions: no grade" in summary.describe()

    rows = pl.concat(derive_outcomes(config)).filter(pl.col("learner_id") == "l0")
    assert rows.columns == [
        "learner_id", "unit_id", "as_of", "grade", "age", "horizon_days", "moment",
    ]  # fmt: skip
    assert rows.sort("as_of").rows() == [
        ("l0", "u", 2, "pass", 30, 2, "2"),
        ("l0", "u", 4, "pass", 30, 4, "4"),
    ]


def test_another_grade_is_named_with_its_line(
    derive: Derive, table: Callable[[str], str], tmp_path: Path
) -> None:
    config = derive(derive="grade", at=2, until=9, table=table(grades("l0,merit,30")))
    expected = "one of the classes fail, pass (label.classes), or a grade that data.outcomes.values"
    assert problems_of(config, tmp_path) == [
        f"table.csv, line 2, column grade: expected {expected} translates, found 'merit'"
    ]


def test_numbers_are_cut_where_they_are_written(
    derive: Derive, table: Callable[[str], str]
) -> None:
    rows = [f"l{number},{0.3 if number % 2 else 0.29},{number}" for number in range(40)]
    path = table("\n".join(["learner_id,points,age", *rows, ""]))
    config = derive(derive="grade", at=2, until=9, table=path, column="points", cuts=[0.3])
    classes = dict(pl.concat(derive_outcomes(config)).select("learner_id", "grade").iter_rows())
    assert classes == {f"l{number}": GRADES[number % 2] for number in range(40)}


def test_a_row_of_the_unit_counts_before_one_of_the_learner(
    derive: Derive, table: Callable[[str], str]
) -> None:
    rows = [
        f"l{number},{unit},pass,{age}" for number in range(20) for unit, age in (("u", 1), ("", 2))
    ]
    rows += [f"l{number},,fail,2" for number in range(20, 40)]
    path = table("\n".join(["learner_id,unit_id,grade,age", *rows, ""]))
    config = derive(derive="grade", at=2, until=9, table=path)
    found = pl.concat(derive_outcomes(config)).group_by("grade", "age").len().sort("age")
    assert found.rows() == [("pass", 1, 20), ("fail", 2, 20)]


def test_two_rows_for_one_learner_are_refused(
    derive: Derive, table: Callable[[str], str], tmp_path: Path
) -> None:
    config = derive(derive="grade", at=2, until=9, table=table(grades() + "l3,pass,1\n"))
    assert problems_of(config, tmp_path) == [
        "table.csv, line 42: expected one row per learner, or per learner and unit, found learner "
        "'l3' again, after line 5 of table.csv"
    ]


def test_learners_without_a_row_have_missing_columns(
    derive: Derive, table: Callable[[str], str]
) -> None:
    path = table("learner_id,age\n" + "".join(f"l{number},{number}\n" for number in range(30)))
    config = derive(derive="completion", event_types="quiz", at=1, window=1, until=9, table=path)
    found = pl.concat(derive_outcomes(config))
    assert found["age"].null_count() == 10
    [warning] = [text for text in check_log_hints(config) if "table" in text]
    assert warning == (
        "learners without a row in data.outcomes.table (its columns are missing): 10, such as "
        "learner 'l30'"
    )


def check_log_hints(config: Config) -> list[str]:
    """Returns the warnings of a log that is not divided."""
    total = read_log(config, splits=False, keys_only=True).total
    return [str(hint) for hint in total.hints]


def test_a_mapping_finds_the_keys_of_the_table(derive: Derive, table: Callable[[str], str]) -> None:
    rows = [f"{number},u,x,{GRADES[number % 2]},7" for number in range(40)]
    path = table("\n".join(["id,course,term,result,age", *rows, ""]))
    mapping = {
        "learner_id": {"template": "l{id}"},
        "unit_id": "course",
        "grade": "result",
    }
    config = derive(derive="grade", at=2, until=9, table=path, mapping=mapping)
    assert check_log(config).outcomes == 40
    del mapping["unit_id"]  # then a row is about all units
    config = derive(derive="grade", at=2, until=9, table=path, mapping=mapping)
    assert check_log(config).outcomes == 40


def test_a_column_that_the_mapping_lacks_is_one_of_the_table(
    derive: Derive, table: Callable[[str], str], tmp_path: Path
) -> None:
    mapping = {"learner_id": "pupil"}
    config = derive(derive="grade", at=2, until=9, table=table(grades()), mapping=mapping)
    [problem] = problems_of(config, tmp_path)
    assert problem.startswith("table.csv: expected 'pupil' in outcomes, found the columns learner_")
    assert problem.endswith("; data.outcomes.mapping says where values are found")


def test_folds_come_from_the_table(derive: Derive, table: Callable[[str], str]) -> None:
    rows = [f"l{number},{GRADES[number % 2]},7,{number // 2 % 5}" for number in range(38)]
    path = table("\n".join(["learner_id,grade,age,part", *rows, ""]))
    splits = {"folds": 5, "fold": 1, "column": "part", "train": 1, "eval": 1}
    config = derive({"splits": splits}, derive="grade", at=2, until=9, table=path)
    summary = check_log(config)
    assert sum(summary.splits["test"].values()) == 8
    assert summary.unasked == {"no grade": 2}
    [rows_of] = derive_outcomes(config)
    assert rows_of.filter(pl.col("_fold") == 1).height == 8


@pytest.mark.parametrize(
    ("moments", "problem"),
    [
        (
            {"at": "7d", "window": "7d"},
            "data.outcomes.at: expected a number, since the log has a clock of its own (numbers "
            "that are not dates), found 7d",
        ),
        (
            {"at": 1.5, "window": 1},
            "data.outcomes.at: expected a whole number, as all times of the log are, found 1.5",
        ),
        (
            {"at": 1, "window": 1, "until": "2026-03-01"},
            "data.outcomes.until: expected a number, since the log has a clock of its own (numbers "
            "that are not dates), found 2026-03-01",
        ),
        (
            {"at": 3, "window": 1},
            "data.outcomes: expected at least one outcome (data.outcomes.at, window and until), "
            "found none: 40 questions: window not over when the log ended",
        ),
    ],
)
@pytest.mark.parametrize("values_per_part", [150, shuffle.VALUES_PER_PART])
def test_a_clock_that_does_not_fit_is_one_error(
    derive: Derive,
    table: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moments: dict[str, Any],
    problem: str,
    values_per_part: int,
) -> None:
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", values_per_part)
    path = table("learner_id,age\nl1,5\n")
    found = problems_of(derive(derive="inactivity", table=path, **moments), tmp_path)
    assert problem in found
    with pytest.raises(LogError):
        list(derive_outcomes(derive(derive="inactivity", table=path, **moments)))


def test_a_split_without_a_class_says_what_was_left_out(
    derive: Derive, table: Callable[[str], str], tmp_path: Path
) -> None:
    config = derive(
        derive="completion", event_types="quiz", at=[1, 3], table=table("learner_id,age\nl1,5\n")
    )
    [problem] = problems_of(config, tmp_path)
    assert "found 0 of 'fail' in train" in problem
    assert problem.endswith(
        "; derived, and none for 40 questions: window not over when the log ended"
    )


def test_a_sample_is_of_learners_with_events(derive: Derive, table: Callable[[str], str]) -> None:
    path = table(grades())
    every = derive(derive="grade", at=[2, 3], after="unit", until=9, table=path)
    some = derive(
        {"sample_learners": 25}, derive="grade", at=[2, 3], after="unit", until=9, table=path
    )
    rows, sampled = pl.concat(derive_outcomes(every)), pl.concat(derive_outcomes(some))
    assert sampled["learner_id"].n_unique() == 25
    assert sampled.sort("learner_id", "as_of").equals(
        rows.join(sampled, on="learner_id", how="semi").sort("learner_id", "as_of")
    )


def test_columns_of_the_answer_are_no_features(
    derive: Derive, table: Callable[[str], str], events: pl.DataFrame, write: Callable[..., None]
) -> None:
    path = table(grades(header="learner_id,other,age"))
    config = derive(derive="passed", min_score=0.5, at=2, until=9, table=path)
    score = (pl.col("learner_id").str.slice(1).cast(pl.Int64) % 2).cast(pl.Float64)
    write(events.with_columns(score=pl.when(pl.col("time") == 3).then(score)))
    examples = list(examples_from_log(config))
    assert len(examples) == 40
    assert not any(b"score" in example for example in examples)
    write(events.drop("dwell").with_columns(dwell=1.0, points=1.0))
    with pytest.raises(LogError, match="a column 'score' in events"):
        list(examples_from_log(config))


def test_known_outcomes_are_those_of_a_calendar(
    derive: Derive, table: Callable[[str], str], events: pl.DataFrame, write: Callable[..., None]
) -> None:
    path = table(grades())
    config = derive(derive="grade", at=2, until=9, table=path)
    with pytest.raises(MasteryError, match="expected timestamps or dates, found numbers"):
        read_known_outcomes(config)

    day = datetime(2026, 3, 1, tzinfo=UTC)
    write(events.with_columns(time=pl.lit(day) + pl.duration(days="time")))
    config = derive(derive="grade", at="2d", until="2026-04-01", table=path)
    keys = read_known_outcomes(config)
    assert keys.columns == ["learner_id", "unit_id", "as_of", "grade"]
    assert set(keys["as_of"]) == {day + timedelta(days=2)}
    assert read_known_outcomes(config, keys_only=False).columns == [*keys.columns, "age"]
