"""Hashes ids, and by the hash assigns learners to a part of the log and to a sample.

All rows of a learner go the same way, so no learner is in two parts. Splits are by the same hash
(`components.event_log.splits`).

A sample holds the learners with the k smallest hashes: a uniform draw of k learners, the same for
rows in any order. It can be found part by part, since the k smallest of two parts are among the k
smallest of each (a "bottom-k sketch", Cohen and Kaplan, 2007).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from components.contracts.names import LEARNER, PARTITION_HASH, SAMPLE_HASH, SPLIT_HASH

Hashes = npt.NDArray[np.uint64]


def hash_ids(ids: pl.Series, seed: str) -> pl.DataFrame:
    """Hashes every different id once.

    Args:
        ids: of learners or units, with repetitions.
        seed: put before each id: another seed, another draw.

    Returns:
        The column `ids`, each once, with three uint64 that share no bits: parts of
        `sha256(seed + id)`.
    """
    unique = ids.unique(maintain_order=True)
    digests = b"".join(hashlib.sha256(f"{seed}{name}".encode()).digest()[:24] for name in unique)
    words = np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 3)
    names = (SPLIT_HASH, PARTITION_HASH, SAMPLE_HASH)
    hashes = {name: words[:, index] for index, name in enumerate(names)}
    return pl.DataFrame({unique.name: unique, **hashes})


def number_parts(learners: pl.Series, seed: str, shards: int, ranges: int = 1) -> pl.Series:
    """Returns the number of each learner's part: `shard * ranges + range`.

    Args:
        learners: learner ids, with repetitions.
        seed: put before each id.
        shards: how many; the shard is a remainder of `_partition_hash`.
        ranges: how many per shard. The range grows with `_split_hash`, so a shard's ranges, one
            after the other, are in the order of that hash.
    """
    shard = pl.col(PARTITION_HASH) % shards
    half = 2**32  # the product of the upper half and a number of ranges fits into 64 bits
    within = pl.col(SPLIT_HASH) // half * ranges // half
    number = (shard * ranges + within).cast(pl.Int64).alias("part")
    hashes = hash_ids(learners.alias(LEARNER), seed).select(LEARNER, number)
    return learners.to_frame(LEARNER).join(hashes, on=LEARNER, maintain_order="left")["part"]


@dataclass(frozen=True)
class Sample:
    """Some of the learners of a log.

    Attributes:
        seed: put before each id: another seed, another draw.
        highest: the largest hash of a learner in the sample.
    """

    seed: str
    highest: int

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Returns the rows of learners in the sample, in their order."""
        hashes = hash_ids(frame[LEARNER], self.seed)
        chosen = hashes.filter(pl.col(SAMPLE_HASH) <= pl.lit(self.highest, pl.UInt64))[LEARNER]
        return frame.filter(pl.col(LEARNER).is_in(chosen.implode()))


def smallest_hashes(parts: Iterable[Hashes], learners: int) -> Hashes:
    """Returns the smallest different hashes of all parts, at most `learners`, sorted."""
    known = np.empty(0, np.uint64)
    for part in parts:
        known = np.union1d(known, part)[:learners]
    return known


def choose_sample(hashes: Hashes, learners: int, seed: str) -> Sample:
    """Returns the sample of at most `learners` learners.

    Args:
        hashes: what `smallest_hashes` returned for the whole log and the same `learners`.
        learners: how many are wanted.
        seed: of the hashes.
    """
    everybody = int(np.iinfo(np.uint64).max)
    return Sample(seed, everybody if len(hashes) < learners else int(hashes[-1]))
