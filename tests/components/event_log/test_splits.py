"""Learners or whole units held out, by a hash or by a column of the log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import Config
from components.config.data import Splits
from components.contracts.names import SPLITS
from components.errors import LogError
from components.event_log import shuffle
from components.event_log.learners import hash_ids
from components.event_log.log import check_log, read_log, read_questions
from components.event_log.splits import assign_splits, show_events

Configure = Callable[..., Config]
Write = Callable[..., None]

IDS = st.lists(st.text(), min_size=1, max_size=40)


def word(name: str, seed: str = "mastery") -> int:
    """The hash of an id, by its definition."""
    return int.from_bytes(hashlib.sha256(f"{seed}{name}".encode()).digest()[:8])


def expected_split(name: str, splits: Splits, fold: int | None = None) -> str:
    """The split of an id, by its definition."""
    if splits.folds is None:
        bucket = word(name, splits.seed) % (splits.train + splits.eval + splits.test)
        return SPLITS[(bucket >= splits.train) + (bucket >= splits.train + splits.eval)]
    if (word(name, splits.seed) % splits.folds if fold is None else fold) == splits.fold:
        return "test"
    bucket = word(name, splits.seed) // splits.folds % (splits.train + splits.eval)
    return SPLITS[bucket >= splits.train]


@st.composite
def any_splits(draw: st.DrawFn) -> Splits:
    folds = draw(st.none() | st.integers(2, 6))
    return Splits(
        by=draw(st.sampled_from(["learner", "unit"])),
        train=draw(st.integers(1, 5)),
        eval=draw(st.integers(1, 3)),
        test=draw(st.integers(1, 3)),
        seed=draw(st.sampled_from(["mastery", "other", ""])),
        folds=folds,
        fold=draw(st.integers(0, folds - 1)) if folds else 0,
    )


@given(IDS, any_splits())
def test_splits_are_those_of_the_hash(ids: list[str], splits: Splits) -> None:
    rows = pl.DataFrame({"learner_id": ids, "unit_id": ids[::-1]})
    hashed = rows.join(
        hash_ids(rows["learner_id"], splits.seed), on="learner_id", maintain_order="left"
    )
    held_out = ids if splits.by == "learner" else ids[::-1]
    assert assign_splits(hashed, splits).to_list() == [
        expected_split(name, splits) for name in held_out
    ]


def test_every_id_is_tested_once_over_the_folds_and_folds_are_about_equal() -> None:
    rows = pl.DataFrame({"unit_id": [f"u{number}" for number in range(3000)]})
    parts = [
        assign_splits(rows, Splits.model_validate({"by": "unit", "folds": 3, "fold": fold}))
        for fold in range(3)
    ]
    tested = pl.DataFrame({str(fold): part == "test" for fold, part in enumerate(parts)})
    assert set(tested.sum_horizontal()) == {1}
    for part in parts:
        counts = dict(part.value_counts().iter_rows())
        assert 900 < counts["test"] < 1100
        assert counts["eval"] / counts["train"] == pytest.approx(1 / 8, abs=0.03)


@pytest.fixture
def split_log(configure: Configure, write: Write, outcomes: pl.DataFrame) -> Callable[..., Any]:
    """Returns a function that reads the outcomes of the small log with settings of its splits.

    Each learner has two units; `part` is the learner's fold of three, and `unit_part` the unit's.
    """
    number = pl.col("learner_id").str.slice(1).cast(pl.Int64)
    unit = number * 2 % 20 + pl.int_range(pl.len()) % 2
    given_ = outcomes.with_columns(
        unit_id=pl.format("u{}", unit), part=number % 3, unit_part=unit % 3
    )
    write(outcomes=given_)

    def read(**splits: Any) -> pl.DataFrame:
        config = configure(data={"splits": splits, "max_cold_start_share": 1.0}, **STEPS)
        return read_log(config, splits=True, keys_only=False).part.outcomes

    return read


STEPS = {
    "steps": {
        "history": "learner",
        "max_steps": 3,
        "features": {"event_type": {"type": "categorical"}},
    }
}


def test_a_column_says_which_fold_is_the_test_split(split_log: Callable[..., Any]) -> None:
    for fold in range(3):
        rows = split_log(folds=3, fold=fold, column="part", eval=4)
        for learner, split in rows.select("learner_id", "_split").iter_rows():
            splits = Splits.model_validate({"folds": 3, "fold": fold, "eval": 4})
            assert split == expected_split(learner, splits, int(learner[1:]) % 3)


@pytest.mark.parametrize("column", [None, "unit_part"])
def test_units_are_in_one_split_only(split_log: Callable[..., Any], column: str | None) -> None:
    rows = split_log(by="unit", folds=3, fold=1, column=column, eval=4)
    assert set(rows["_split"]) == {*SPLITS}
    assert rows.group_by("unit_id").agg(pl.col("_split").n_unique())["_split"].max() == 1
    splits = Splits.model_validate({"folds": 3, "fold": 1, "eval": 4})
    for unit, split in rows.select("unit_id", "_split").iter_rows():
        fold = int(unit[1:]) % 3 if column else None
        assert split == expected_split(unit, splits, fold)


def test_every_split_still_needs_enough_of_every_class(split_log: Callable[..., Any]) -> None:
    with pytest.raises(LogError, match=r"at least 1 examples of every class .* found 0 of"):
        split_log(by="unit", folds=3, fold=1, train=1000)  # leaves nothing for eval


SPOILED = "a whole number from 0 to 2 in every row (data.splits.folds)"


@pytest.mark.parametrize(
    ("value", "found"),
    [(3, "3"), (-1, "-1"), (0.5, "0.5"), (None, "nothing"), ("x", "'x'"), (float("nan"), "nan")],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
def test_a_fold_that_is_none_is_one_error_with_its_place(
    value: Any,
    found: str,
    suffix: str,
    configure: Configure,
    write: Write,
    outcomes: pl.DataFrame,
    tmp_path: Path,
) -> None:
    write()
    folds: list[Any] = [row // 2 % 3 for row in range(outcomes.height)]
    if isinstance(value, str):
        folds = [str(fold) for fold in folds]
    folds[6] = value
    path = tmp_path / f"folds.{suffix}"
    spoiled = outcomes.with_columns(part=pl.Series(folds, strict=False))
    getattr(spoiled, f"write_{suffix}")(path)
    config = configure(
        data={"outcomes": str(path), "splits": {"folds": 3, "column": "part"}},
    )
    with pytest.raises(LogError) as error:
        check_log(config)
    [problem] = error.value.problems
    unit, row = {"parquet": ("row", 7), "csv": ("line", 8), "ndjson": ("line", 7)}[suffix]
    start = f"{path}, {unit} {row}, column part: expected {SPOILED}, found "
    assert problem.startswith(start)
    if suffix == "parquet":
        assert problem == start + found


def test_a_fold_without_rows_is_named(split_log: Callable[..., Any]) -> None:
    with pytest.raises(LogError) as error:
        split_log(folds=5, fold=3, column="part")
    assert error.value.problems == [
        "the log, column part: expected rows of fold 3, the test split (data.splits.fold), "
        "found none"
    ]


def test_a_column_that_is_not_there_is_named(
    write: Write, refuse: Callable[..., list[str]]
) -> None:
    write()
    [problem] = refuse(data={"splits": {"folds": 3, "column": "part"}})
    assert problem.startswith("outcomes.parquet: expected a column 'part' in outcomes")


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("by", ["learner", "unit"])
def test_a_learner_or_unit_in_two_folds_is_named(
    by: str,
    parts: int,
    write: Write,
    outcomes: pl.DataFrame,
    refuse: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", 800 // parts)
    number = pl.col("learner_id").str.slice(1).cast(pl.Int64)
    fold = pl.when(pl.int_range(pl.len()).is_in([14, 24])).then(2).otherwise(0)
    # The units of learner 7 and of learner 12 are those of other learners too.
    units = pl.format("u{}", number % 5)
    write(outcomes=outcomes.with_columns(part=fold, unit_id=units))
    [problem] = refuse(
        data={"splits": {"by": by, "folds": 3, "column": "part"}, "max_cold_start_share": 1.0},
        **STEPS,
    )
    name = "learner 'l12'" if by == "learner" else "unit 'u2'"
    assert problem == (
        f"the log, column part: expected one fold per {by} (data.splits.column), "
        f"found 0 and 2 for the {name}"
    )


def test_the_column_is_not_needed_where_a_log_is_only_asked_about(
    configure: Configure, write: Write, tmp_path: Path
) -> None:
    write()
    config = configure(data={"splits": {"by": "unit", "folds": 3, "column": "part"}})
    assert read_log(config, splits=False, keys_only=False).part.outcomes.height == 80
    paths = [[str(tmp_path / f"{table}.parquet")] for table in ("events", "outcomes")]
    assert read_questions(config, *paths).outcomes.height == 80


def test_parts_change_nothing(
    split_log: Callable[..., Any], configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    del split_log  # has written the log
    splits = {"by": "unit", "folds": 3, "fold": 1, "column": "unit_part", "eval": 4}
    config = configure(data={"splits": splits, "max_cold_start_share": 1.0}, **STEPS)
    whole = check_log(config)
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", 100)
    assert check_log(config) == whole


UNITS = st.sampled_from("abcde")
LEARNERS = st.sampled_from("xyz")


@given(
    st.lists(st.tuples(LEARNERS, UNITS), max_size=30),
    st.lists(st.tuples(LEARNERS, UNITS), min_size=1, max_size=10),
    st.none() | st.lists(st.integers(0, 2), min_size=5, max_size=5),
    st.integers(0, 2),
)
def test_outcomes_see_no_unit_that_is_held_out_for_later(
    events: list[tuple[str, str]],
    outcomes: list[tuple[str, str]],
    folds: list[int] | None,
    fold: int,
) -> None:
    column = None if folds is None else "part"
    splits = Splits(by="unit", train=1, eval=1, folds=3, fold=fold, column=column)
    of_unit = dict(zip("abcde", folds or [], strict=False))
    known = {unit: {of_unit[unit]} for _, unit in outcomes} if folds else {}
    asked = pl.DataFrame(outcomes, schema=["learner_id", "unit_id"], orient="row")
    seen = pl.DataFrame(
        events, schema={"learner_id": pl.String, "unit_id": pl.String}, orient="row"
    ).with_row_index("place")

    def split(unit: str) -> str:
        # A unit without outcomes has no fold, so it is not that of the test split.
        return expected_split(
            unit, splits, of_unit[unit] if unit in known else -1 if folds else None
        )

    asked = asked.with_columns(
        _split=pl.Series([split(unit) for _, unit in outcomes], dtype=pl.String)
    )
    shown = show_events(seen, asked, splits, known)
    expected = {
        (place, whose)
        for place, (learner, unit) in enumerate(events)
        for who, about in outcomes
        if who == learner
        for whose in [split(about)]
        if SPLITS.index(split(unit)) <= SPLITS.index(whose)
    }
    found = list(shown.select("place", "_split").iter_rows())
    assert len(found) == len(expected)
    assert set(found) == expected
