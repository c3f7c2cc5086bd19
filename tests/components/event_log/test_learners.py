"""Learners stay together in splits, partitions and samples, however the log is cut."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import Config
from components.config.data import Splits
from components.contracts.names import SAMPLE_HASH, SPLIT_HASH
from components.errors import LogError
from components.event_log.learners import (
    choose_sample,
    hash_ids,
    number_parts,
    smallest_hashes,
)
from components.event_log.log import read_log
from components.event_log.splits import assign_splits, split_of

IDS = st.lists(st.text(), min_size=1, max_size=50)
SEEDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)


@settings(deadline=None)
@given(IDS, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), SEEDS)
def test_no_learner_is_in_two_splits(
    ids: list[str], train: int, eval_: int, test: int, seed: str
) -> None:
    splits = Splits.model_validate({"train": train, "eval": eval_, "test": test, "seed": seed})
    rows = pl.DataFrame({"learner_id": ids + ids[::-1]})
    hashed = rows.join(hash_ids(rows["learner_id"], seed), on="learner_id")
    split = hashed.with_columns(split=assign_splits(hashed, splits))
    assert split.height == 2 * len(ids)
    assert split.group_by("learner_id").agg(pl.col("split").n_unique())["split"].max() == 1


@settings(deadline=None)
@given(IDS, st.integers(1, 9), st.integers(1, 9))
def test_a_learner_is_in_one_part_and_its_ranges_are_in_the_order_of_the_hash(
    ids: list[str], shards: int, ranges: int
) -> None:
    learners = pl.Series("learner_id", [*ids, *ids])
    numbers = number_parts(learners, "seed", shards, ranges)
    assert numbers.to_list() == [*numbers[: len(ids)]] * 2
    assert (numbers // ranges).to_list() == number_parts(learners, "seed", shards).to_list()

    for learner, number in zip(learners, numbers, strict=True):
        word = int.from_bytes(hashlib.sha256(f"seed{learner}".encode()).digest()[:8])
        assert number % ranges == (word >> 32) * ranges >> 32
        assert 0 <= number < shards * ranges


def test_the_split_is_the_sha256_of_seed_and_learner() -> None:
    word = int.from_bytes(hashlib.sha256(b"seedanna").digest()[:8])
    hashed = hash_ids(pl.Series(["anna", "anna"]), "seed")
    assert hashed.height == 1
    assert hashed[SPLIT_HASH].item() == word


def test_shares_are_about_as_configured_in_every_shard() -> None:
    rows = pl.DataFrame({"learner_id": [f"learner {number}" for number in range(20_000)]})
    splits = Splits.model_validate({})
    shards = number_parts(rows["learner_id"], splits.seed, 5).alias("shard")
    for part in rows.with_columns(shards).partition_by("shard"):
        hashed = hash_ids(part["learner_id"], splits.seed).select(split_of(splits).alias("split"))
        counts = dict(hashed["split"].value_counts(normalize=True).iter_rows())
        assert abs(counts["train"] - 0.8) < 0.03
        assert abs(counts["eval"] - 0.1) < 0.03


Configure = Callable[..., Config]


def sampled(config: Config) -> pl.DataFrame:
    return read_log(config, splits=False, keys_only=False).part.outcomes


@given(st.lists(st.text(), min_size=1, max_size=60), st.integers(1, 40), st.integers(1, 7))
def test_a_sample_has_as_many_learners_as_asked_for_however_they_come(
    ids: list[str], wanted: int, parts: int
) -> None:
    rows = pl.DataFrame({"learner_id": ids})
    hashes = [
        hash_ids(rows[part::parts]["learner_id"], "s")[SAMPLE_HASH].to_numpy()
        for part in range(parts)
    ]
    sample = choose_sample(smallest_hashes(hashes, wanted), wanted, "s")
    assert sample == choose_sample(smallest_hashes(hashes[::-1], wanted), wanted, "s")
    assert sample.of(rows)["learner_id"].n_unique() == min(wanted, len(set(ids)))


def test_without_files_there_are_no_hashes() -> None:
    assert smallest_hashes([], 3).tolist() == []
    assert choose_sample(np.empty(0, np.uint64), 3, "s").highest == 2**64 - 1


def test_chosen_learners_keep_all_their_rows(
    configure: Configure, write: Callable[..., None]
) -> None:
    write()
    some = sampled(configure(data={"sample_learners": 10}))
    assert some["learner_id"].n_unique() == 10
    everybody = sampled(configure())
    assert some.equals(
        everybody.filter(pl.col("learner_id").is_in(some["learner_id"].unique().implode()))
    )
    more = sampled(configure(data={"sample_learners": 11}))
    assert {*some["learner_id"]} < {*more["learner_id"]}
    assert sampled(configure(data={"sample_learners": 1000})).equals(everybody)


def test_another_seed_is_another_sample(configure: Configure, write: Callable[..., None]) -> None:
    write()
    one, other = (
        {*sampled(configure(data={"sample_learners": 10, "splits": {"seed": seed}}))["learner_id"]}
        for seed in "ab"
    )
    assert one != other


def test_what_is_counted_is_the_sample(configure: Configure, write: Callable[..., None]) -> None:
    write()
    total = read_log(configure(data={"sample_learners": 10}), splits=False, keys_only=True).total
    rows = (total.count_rows("outcomes"), total.count_rows("events"))
    assert (total.learners, *rows) == (10, 20, 40)


def test_a_bad_row_of_anybody_is_an_error(
    configure: Configure, write: Callable[..., None], events: pl.DataFrame
) -> None:
    write(events=events.with_columns(dwell=pl.col("dwell").replace(159.0, float("inf"))))
    for learners in (1, 40):
        with pytest.raises(LogError, match="row 160, column dwell: expected a finite number"):
            sampled(configure(data={"sample_learners": learners}))


def test_a_missing_column_is_reported_once(
    tmp_path: Path, configure: Configure, write: Callable[..., None], outcomes: pl.DataFrame
) -> None:
    write(outcomes=outcomes.rename({"learner_id": "who"}))
    with pytest.raises(LogError) as error:
        sampled(configure(data={"sample_learners": 5}))
    [problem] = error.value.problems
    assert problem.startswith(
        f"{tmp_path / 'outcomes.parquet'}: expected a column 'learner_id' in outcomes"
    )
