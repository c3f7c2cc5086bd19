from __future__ import annotations

import hashlib

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.data import Splits
from components.contracts.names import SPLIT_HASH
from components.event_log.learners import hash_learners, partition, split_of

IDS = st.lists(st.text(), min_size=1, max_size=50)
SEEDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)


@settings(deadline=None)
@given(IDS, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), SEEDS)
def test_no_learner_is_in_two_splits(
    ids: list[str], train: int, eval_: int, test: int, seed: str
) -> None:
    splits = Splits.model_validate({"train": train, "eval": eval_, "test": test, "seed": seed})
    rows = pl.DataFrame({"learner_id": ids + ids[::-1]})
    split = rows.join(hash_learners(rows["learner_id"], seed), on="learner_id").with_columns(
        split=split_of(splits)
    )
    assert split.height == 2 * len(ids)
    assert split.group_by("learner_id").agg(pl.col("split").n_unique())["split"].max() == 1


@settings(deadline=None)
@given(IDS, st.integers(1, 9))
def test_partitions_keep_learners_and_rows_together(ids: list[str], partitions: int) -> None:
    rows = pl.DataFrame({"learner_id": ids, "row": range(len(ids))})
    parts = partition(rows, "seed", partitions)
    assert set(parts) <= set(range(partitions))
    assert sorted(row for part in parts.values() for row in part["row"]) == list(range(len(ids)))
    assert sum(part["learner_id"].n_unique() for part in parts.values()) == len(set(ids))
    assert all(part["row"].is_sorted() for part in parts.values())


def test_the_split_is_the_sha256_of_seed_and_learner() -> None:
    word = int.from_bytes(hashlib.sha256(b"seedanna").digest()[:8])
    hashed = hash_learners(pl.Series(["anna", "anna"]), "seed")
    assert hashed.height == 1
    assert hashed[SPLIT_HASH].item() == word


def test_shares_are_about_as_configured_in_every_partition() -> None:
    rows = pl.DataFrame({"learner_id": [f"learner {number}" for number in range(20_000)]})
    splits = Splits.model_validate({})
    for part in partition(rows, splits.seed, 5).values():
        hashed = hash_learners(part["learner_id"], splits.seed).select(
            split_of(splits).alias("split")
        )
        counts = dict(hashed["split"].value_counts(normalize=True).iter_rows())
        assert abs(counts["train"] - 0.8) < 0.03
        assert abs(counts["eval"] - 0.1) < 0.03
