"""ExampleGen on the workers of Beam's runner.

Beam hands out the tasks of a job and adds their counts up; rows do not travel through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import apache_beam as beam

from components.event_log.learners import smallest_hashes
from components.event_log.tally import merge_tallies

if TYPE_CHECKING:
    from components.example_gen.job import Job


class Tallies(NamedTuple):
    """The counts of reading all files, and of joining all shards."""

    read: beam.PCollection
    joined: beam.PCollection


class ExamplesFromLog(beam.PTransform):  # type: ignore[misc]
    """Reads a log, writes its examples, one file per split and shard, and counts."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, pipeline: beam.Pipeline) -> Tallies:
        """Returns the counts, two collections of one element; examples go to files."""
        job = self._job
        read = (
            pipeline
            | "Files" >> beam.Create(job.reading, reshuffle=True)
            | "Read" >> beam.Map(job.read, self._sample(pipeline))
            | "SumRead" >> beam.CombineGlobally(merge_tallies)
        )
        # The counts of reading are complete once every run is written: no shard is joined before.
        joined = (
            pipeline
            | "Shards" >> beam.Create(range(job.parts.shards), reshuffle=True)
            | "Join" >> beam.Map(job.join, beam.pvalue.AsSingleton(read))
            | "SumJoined" >> beam.CombineGlobally(merge_tallies)
        )
        return Tallies(read, joined)

    def _sample(self, pipeline: beam.Pipeline) -> beam.pvalue.AsSingleton | None:
        """Chooses the learners in a pass of its own, so that rows of others are never written.

        Returns None for all learners.
        """
        job = self._job
        learners = job.spec.sample_learners
        if learners is None:
            return None
        return beam.pvalue.AsSingleton(
            pipeline
            | "Asking" >> beam.Create(job.groups(job.asking), reshuffle=True)
            | "HashLearners" >> beam.Map(job.hash_learners)
            | "SmallestHashes" >> beam.CombineGlobally(smallest_hashes, learners)
            | "ChooseSample" >> beam.Map(job.choose_sample)
        )
