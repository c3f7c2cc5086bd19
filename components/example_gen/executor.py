"""ExampleGen's executor: writes a log's examples, here or by Beam's runner, and its summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from components.config.beam import IN_PROCESS, LOCAL_RUNNERS, WORKERS
from components.contracts.names import SPLITS
from components.contracts.provenance import describe_data
from components.event_log.conclusion import conclude, summarise
from components.event_log.log_spec import LogSpec
from components.event_log.tally import Tally
from components.example_gen.driver import find_inputs
from components.example_gen.job import Job
from components.example_gen.transforms import ExamplesFromLog
from components.example_gen.workers import run_job
from components.files.atomic import write_text


class Executor(BaseBeamExecutor):  # type: ignore[misc]
    """Reads, checks, joins, encodes and splits a log in one pass."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples of a log, and `log_summary.json` beside the splits.

        Meanwhile rows are in a scratch folder below the examples, which is removed at the end, also
        after an error.

        Args:
            input_dict: empty.
            output_dict: `examples`.
            exec_properties: `input_config` with its placeholders filled in, `config`.

        Raises:
            LogError: the log cannot be used; lists all of its problems.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        folders = {split: artifact_utils.get_split_uri([examples], split) for split in SPLITS}
        spec = LogSpec.from_property(exec_properties["config"])
        input_config = proto_utils.json_to_proto(
            exec_properties["input_config"], example_gen_pb2.Input()
        )

        found = find_inputs(input_config.splits, spec)
        files = {table: listing.files for table, listing in found.items()}
        with TemporaryDirectory(dir=examples.uri) as scratch:
            read, joined = self._run(Job.of(files, spec, folders, scratch))
        total = conclude(read, joined, spec, splits=True)

        reasons = {table: listing.describe_passed_over() for table, listing in found.items()}
        total.passed_over = {table: text for table, text in reasons.items() if text}
        data = describe_data(examples)
        summary = summarise(
            total,
            spec.label.classes,
            spans=data.spans,
            version=data.version,
            replayed=data.replayed,
        )
        summary.write(Path(examples.uri))
        # As TFX's `examples_utils`, which imports TensorFlow.
        examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        examples.set_string_custom_property("file_format", "tfrecords_gzip")

    def _run(self, job: Job) -> tuple[Tally, Tally]:
        """Writes the examples; returns the counts of reading and of joining."""
        # Without Beam the same tasks take half a second less, and may use threads.
        if runs_on_this_machine(self._beam_pipeline_args):
            return run_job(job, int(os.environ.get(WORKERS, "1")))

        read = Path(job.scratch, "read.json")
        joined = Path(job.scratch, "joined.json")
        with self._make_beam_pipeline() as pipeline:
            tallies = pipeline | ExamplesFromLog(job)
            tallies.read | "KeepRead" >> beam.Map(_write, str(read))
            tallies.joined | "KeepJoined" >> beam.Map(_write, str(joined))
        return _load(read), _load(joined)


def runs_on_this_machine(options: Sequence[str]) -> bool:
    """Returns whether Beam would run a pipeline with these options on this machine."""
    runner = PipelineOptions([*options]).view_as(StandardOptions).runner or "DirectRunner"
    return runner in LOCAL_RUNNERS or f"--runner={runner}" in IN_PROCESS


def _write(tally: Tally, path: str) -> None:
    write_text(path, tally.model_dump_json(), drafts=Path(path).parent)


def _load(path: Path) -> Tally:
    return Tally.model_validate_json(path.read_bytes())
