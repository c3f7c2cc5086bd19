"""The executor: the log through Beam, and a verdict on it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from components.contracts.names import SPLITS
from components.contracts.provenance import describe_data
from components.event_log.log import conclude
from components.event_log.tables import LogSpec
from components.event_log.tally import Tally, summarise
from components.example_gen.driver import find_inputs
from components.example_gen.transforms import ExamplesFromLog
from components.files.atomic import write_text

SUMMARY_FILE = "log_summary.json"


class Executor(BaseBeamExecutor):  # type: ignore[misc]
    """Reads, checks, joins, encodes and splits a log in one pass."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples of a log, and `log_summary.json` beside the splits.

        Args:
            input_dict: empty.
            output_dict: `examples`.
            exec_properties: `input_config` with its placeholders filled, `config`.

        Raises:
            LogError: the log cannot be used; with everything that is wrong with it.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        folders = {split: artifact_utils.get_split_uri([examples], split) for split in SPLITS}
        spec = LogSpec.model_validate_json(exec_properties["config"])
        input_config = proto_utils.json_to_proto(
            exec_properties["input_config"], example_gen_pb2.Input()
        )

        found = find_inputs(input_config.splits)
        files = {table: listing.files for table, listing in found.items()}
        with TemporaryDirectory(dir=examples.uri) as folder:
            read, joined = Path(folder, "read.json"), Path(folder, "joined.json")
            with self._make_beam_pipeline() as pipeline:
                tallies = pipeline | ExamplesFromLog(files, spec, folders)
                tallies.read | "KeepRead" >> beam.Map(_write, str(read))
                tallies.joined | "KeepJoined" >> beam.Map(_write, str(joined))
            total = conclude(_load(read), _load(joined), spec, splits=True)
        told = {table: listing.describe_passed_over() for table, listing in found.items()}
        total.passed_over = {table: reasons for table, reasons in told.items() if reasons}
        data = describe_data(examples)
        summary = summarise(total, spec.label.classes, spans=data.spans, version=data.version)
        write_text(Path(examples.uri, SUMMARY_FILE), summary.model_dump_json(indent=2))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")


def _write(tally: Tally, path: str) -> None:
    write_text(path, tally.model_dump_json())


def _load(path: Path) -> Tally:
    return Tally.model_validate_json(path.read_bytes())
