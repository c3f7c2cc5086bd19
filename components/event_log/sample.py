"""A sample of the learners: those with the smallest hashes, each with all of its rows.

The k smallest of the hashes are a uniform draw of k learners, the same for rows in any order, and can be found part by
part: the k smallest of two parts are among the k smallest of each (a "bottom-k sketch", Cohen and Kaplan, 2007).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from components.contracts.names import LEARNER, SAMPLE_HASH
from components.event_log.columns import read_column
from components.event_log.files import LogFile
from components.event_log.learners import hash_learners
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.tables import Table

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Sample:
    """Some of the learners of a log.

    Attributes:
        seed: put before each id: another seed, another draw.
        highest: the largest hash of a learner that is in it.
    """

    seed: str
    highest: int

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Returns the rows of learners that are in the sample, in their order."""
        hashes = hash_learners(frame[LEARNER], self.seed)
        chosen = hashes.filter(pl.col(SAMPLE_HASH) <= pl.lit(self.highest, pl.UInt64))[LEARNER]
        return frame.filter(pl.col(LEARNER).is_in(chosen.implode()))


def read_hashes(file: LogFile, table: Table, seed: str) -> Iterator[Hashes]:
    """Yields the hashes of the learners in each chunk of a file, each once; what is wrong with it is passed over.

    Only the column of learners is read. Whoever reads the file for its rows says what is wrong with it.
    """
    source = table.source(LEARNER)
    for chunk in read_chunks(file, [source]):
        if isinstance(chunk, Problem) or source not in chunk.frame.columns:
            return
        column = read_column(table.kinds[LEARNER], chunk.frame[source], table, typed=chunk.typed)
        if column is not None:
            learners = column.values.alias(LEARNER).drop_nulls()
            yield hash_learners(learners, seed)[SAMPLE_HASH].to_numpy()


def smallest_hashes(parts: Iterable[Hashes], learners: int) -> Hashes:
    """Returns the smallest different hashes of all parts, at most `learners`, in order of size."""
    known = np.empty(0, np.uint64)
    for part in parts:
        known = np.union1d(known, part)[:learners]
    return known


def choose_sample(hashes: Hashes, learners: int, seed: str) -> Sample:
    """Returns the sample of at most `learners` learners.

    Args:
        hashes: what `smallest_hashes` returned for the whole log and the same `learners`.
        learners: how many are wanted.
        seed: what the hashes were made with.
    """
    everybody = int(np.iinfo(np.uint64).max)
    return Sample(seed, everybody if len(hashes) < learners else int(hashes[-1]))
