"""Which test examples models are judged on: all of them, or of very many a sample of learners.

Memory and time of the Evaluator grow with the examples that it judges: about 2.4 kB each with the
slices, comparisons and draws of the shipped sample. A million are enough for any gate: the interval
of a share is .002 wide. Metrics and intervals are those of the sample, so that they do not claim to
be surer than they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import tensorflow as tf
from numpy.typing import NDArray
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.contracts.names import LEARNER
from components.evaluator.scoring import as_text, first_value, windows_of_split
from components.node.progress import report_progress

LEAST_BYTES = 10  # that an example takes in a compressed file


@dataclass(frozen=True)
class JudgedSplit:
    """Test examples that models are judged on.

    Attributes:
        folder: TFRecord files of serialized `tf.Example`s.
        sampled_from: how many examples the test split has; None where all of them are judged.
    """

    folder: Path
    sampled_from: int | None = None


@contextmanager
def open_judged(split: Path, most: int, scratch: Path) -> Iterator[JudgedSplit]:
    """Yields the test split, or a sample of its learners with about `most` examples.

    Args:
        split: folder of the test split.
        most: of more examples a sample is judged.
        scratch: a folder with room for the sample, which is removed at the end.
    """
    count = _count(split) if _bytes_of(split) > most * LEAST_BYTES else 0
    if count <= most:
        yield JudgedSplit(split)
        return

    with TemporaryDirectory(prefix=".judged-", dir=scratch) as folder:
        report_progress(f"choosing learners: about {most:,} of {count:,} test examples are judged")
        _write_sample(split, most / count, Path(folder, "sample.gz"))
        yield JudgedSplit(Path(folder), sampled_from=count)


def is_sampled(learners: pl.Series, share: float) -> NDArray[np.bool_]:
    """Returns whether each row's learner is in a sample, by a hash of the id alone, [n].

    Args:
        learners: ids, with repetitions.
        share: of all learners that are in the sample.
    """
    names = as_text(learners)
    limit = int(share * 2**64)
    taken = [name for name in names.unique().to_list() if _hash(name) < limit]
    is_taken: NDArray[np.bool_] = names.is_in(taken).to_numpy()
    return is_taken


def _bytes_of(split: Path) -> int:
    return sum(file.stat().st_size for file in split.iterdir() if file.is_file())


def _count(split: Path) -> int:
    return sum(map(len, windows_of_split(split)))


def _write_sample(split: Path, share: float, path: Path) -> None:
    """Writes the examples of the sample's learners, in their order."""
    decoder = ExamplesToRecordBatchDecoder()
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for window in windows_of_split(split):
            learners = first_value(pl.DataFrame(decoder.DecodeBatch(window)), LEARNER)
            for row in np.flatnonzero(is_sampled(learners, share)):
                writer.write(window[row])


def _hash(learner: str) -> int:
    return int.from_bytes(hashlib.blake2b(learner.encode(), digest_size=8).digest())
