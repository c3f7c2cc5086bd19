"""StatisticsGen's executor: TensorFlow Data Validation's statistics, the same on every runner.

TFDV adds up parts of the statistics in the order in which workers happen to finish them. Medians
and histograms come from sketches that keep what they see first, so those of a log of thousands
depend on that order, and the last digits of means do. Here each file of examples is counted in its
order, and the files are added up in theirs.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components.contracts.names import STATISTICS_FILE
from components.statistics_gen.shards import CountShard, generators, shards_of, write_statistics


class Executor(BaseBeamExecutor):  # type: ignore[misc]
    """Describes each split of examples."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the statistics of every split.

        Args:
            input_dict: `examples`.
            output_dict: `statistics`.
            exec_properties: not read; all splits are described.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        statistics = artifact_utils.get_single_instance(output_dict["statistics"])
        statistics.split_names = examples.split_names
        statistics.span = examples.span

        Path(statistics.uri).mkdir(parents=True, exist_ok=True)
        with (
            TemporaryDirectory(dir=statistics.uri) as scratch,
            self._make_beam_pipeline() as pipeline,
        ):
            for split in artifact_utils.decode_split_names(examples.split_names):
                source, target = (
                    Path(artifact_utils.get_split_uri([artifact], split))
                    for artifact in (examples, statistics)
                )
                folder = Path(scratch, split)
                folder.mkdir()
                _describe(pipeline, split, source, target / STATISTICS_FILE, folder)


def _describe(
    pipeline: beam.Pipeline, split: str, source: Path, target: Path, scratch: Path
) -> None:
    """Describes the examples of a split.

    Args:
        pipeline: what it becomes a part of.
        split: its name.
        source: the folder of its examples.
        target: the file of its statistics.
        scratch: a folder for what is counted, empty.
    """
    shards = pipeline | f"Shards[{split}]" >> beam.Create(shards_of(source), reshuffle=True)
    count = beam.ParDo(CountShard(scratch)).with_outputs(CountShard.DONE, main="batches")
    counted = shards | f"Count[{split}]" >> count

    # How often each word occurs, which no worker could count in its memory, is exact anyway.
    words = [
        counted.batches | f"{generator.name}[{split}]" >> generator.ptransform
        for generator in generators().of_words
    ]
    _ = (
        pipeline
        | f"Target[{split}]" >> beam.Create([target])
        | f"Write[{split}]"
        >> beam.Map(
            write_statistics,
            scratch,
            beam.pvalue.AsList(counted[CountShard.DONE]),
            *map(beam.pvalue.AsList, words),
        )
    )
