"""Counts examples file by file, in their order, and adds the files up in theirs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from tensorflow_data_validation import StatsOptions
from tensorflow_data_validation.statistics.generators.stats_generator import (
    CombinerStatsGenerator,
    TransformStatsGenerator,
)
from tensorflow_data_validation.statistics.stats_impl import get_generators
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatistics,
    DatasetFeatureStatisticsList,
    FeatureNameStatistics,
)
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder
from tfx_bsl.statistics.merge_util import merge_dataset_feature_statistics

from components.files.atomic import write_bytes
from components.files.records import in_batches, read_records

Words = tuple[None, DatasetFeatureStatistics]  # TFDV has a key of slices there


class Generators(NamedTuple):
    """TFDV's generators of statistics.

    Attributes:
        of_numbers: each adds batches to a state of limited size.
        of_words: each is a Beam transform, as it counts every word.
    """

    of_numbers: list[CombinerStatsGenerator]
    of_words: list[TransformStatsGenerator]


def generators() -> Generators:
    """Returns the generators that TFDV uses without options."""
    found = get_generators(StatsOptions())
    return Generators(
        [item for item in found if isinstance(item, CombinerStatsGenerator)],
        [item for item in found if isinstance(item, TransformStatsGenerator)],
    )


def shards_of(folder: Path) -> list[tuple[int, Path]]:
    """Returns the numbered files of a split, in the order of their names."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [*enumerate(files)]


class CountShard(beam.DoFn):  # type: ignore[misc]
    """Counts the examples of a file, and gives them to what counts words.

    The state of the count is left in a file of the scratch folder, by the number of the shard: a
    second attempt leaves the same one.
    """

    DONE = "done"

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def process(self, shard: tuple[int, Path]) -> Iterator[Any]:
        """Yields (None, batch) for each batch, and the number of the shard at the end."""
        number, path = shard
        counting = generators().of_numbers
        for generator in counting:
            generator.setup()
        states = [generator.create_accumulator() for generator in counting]

        decoder = ExamplesToRecordBatchDecoder()
        for records in in_batches(read_records(path)):
            batch: pa.RecordBatch = decoder.DecodeBatch(records)
            states = [
                generator.add_input(state, batch)
                for generator, state in zip(counting, states, strict=True)
            ]
            yield None, batch

        states = [
            generator.compact(state) for generator, state in zip(counting, states, strict=True)
        ]
        write_bytes(self._scratch / f"{number:05d}", pickle.dumps(states), drafts=self._scratch)
        yield beam.pvalue.TaggedOutput(self.DONE, number)


def write_statistics(
    target: Path, scratch: Path, shards: Sequence[int], *words: Sequence[Words]
) -> None:
    """Adds up what was counted in all shards, and writes the statistics.

    Args:
        target: the file.
        scratch: the folder of the counts; one file of it is in memory at a time.
        shards: the numbers of the shards.
        words: statistics of words, by generator.
    """
    adding = generators().of_numbers
    for generator in adding:
        generator.setup()
    states = [generator.create_accumulator() for generator in adding]
    for number in sorted({*shards}):
        counted = pickle.loads((scratch / f"{number:05d}").read_bytes())
        states = [
            generator.merge_accumulators([state, more])
            for generator, state, more in zip(adding, states, counted, strict=True)
        ]

    parts = [
        generator.extract_output(generator.compact(state))
        for generator, state in zip(adding, states, strict=True)
    ]
    parts += [part for of_generator in words for _, part in of_generator]
    merged: DatasetFeatureStatisticsList = merge_dataset_feature_statistics(parts)
    for dataset in merged.datasets:
        dataset.features.sort(key=_place)
    write_bytes(target, merged.SerializeToString(deterministic=True), drafts=scratch)


def _place(feature: FeatureNameStatistics) -> tuple[str, ...]:
    return (feature.name,) if feature.name else (*feature.path.step,)
