"""Which split, partition and sample a learner belongs to, by a hash of the learner: never in two of a kind."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from components.config.data import Splits
from components.contracts.names import LEARNER, PARTITION_HASH, SAMPLE_HASH, SPLIT_HASH, SPLITS


def hash_learners(learners: pl.Series, seed: str) -> pl.DataFrame:
    """Hashes every different learner once.

    Args:
        learners: learner ids, with repetitions.
        seed: put before each id: another seed, another draw.

    Returns:
        `learner_id`, each once, with three uint64 that have no bit in common: parts of `sha256(seed + learner_id)`.
    """
    unique = learners.unique(maintain_order=True)
    digests = b"".join(
        hashlib.sha256(f"{seed}{learner}".encode()).digest()[:24] for learner in unique
    )
    words = np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 3)
    names = (SPLIT_HASH, PARTITION_HASH, SAMPLE_HASH)
    return pl.DataFrame(
        {LEARNER: unique, **{name: words[:, index] for index, name in enumerate(names)}}
    )


def split_of(splits: Splits) -> pl.Expr:
    """Returns the name of a row's split from its `_split_hash`, in the shares of `splits`."""
    shares = np.cumsum([getattr(splits, name) for name in SPLITS])
    bucket = pl.col(SPLIT_HASH) % int(shares[-1])
    return (
        pl.when(bucket < int(shares[0])).then(pl.lit(SPLITS[0]))
        .when(bucket < int(shares[1])).then(pl.lit(SPLITS[1]))
        .otherwise(pl.lit(SPLITS[2]))
    )  # fmt: skip


def partition(frame: pl.DataFrame, seed: str, partitions: int) -> dict[int, pl.DataFrame]:
    """Returns the rows of each partition that has any; all rows of a learner are in one."""
    hashes = hash_learners(frame[LEARNER], seed).select(
        LEARNER, (pl.col(PARTITION_HASH) % partitions).cast(pl.Int64).alias(PARTITION_HASH)
    )
    parts = frame.join(hashes, on=LEARNER, maintain_order="left").partition_by(
        PARTITION_HASH, include_key=False, as_dict=True, maintain_order=True
    )
    return {int(number): rows for (number,), rows in parts.items()}
