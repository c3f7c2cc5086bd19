"""Transform's executor: analyses the train split, writes the transform graph, transforms splits.

It does what TFX's executor does with TensorFlow Transform for a node that has one input, no
analyzer cache and no statistics. TFX's traces the preprocessing function four times more, to find
out what we know: which columns it reads, and that it has to be analysed. TFX's writes transformed
examples in the order in which a runner happens to hand them on; see `components.transform.shards`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tfx.components.util import examples_utils, tfxio_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, json_utils
from tfx_bsl.tfxio.tfxio import TFXIO

from components.contracts.names import SPLITS
from components.node.settings import TransformSettings
from components.transform.preprocessing import input_columns, preprocessing_fn
from components.transform.shards import TransformShard, find_shards

TRAIN, EVAL, _ = SPLITS
TEMPORARY = ".temp_path"  # below the transform graph, as TFX has it


class Executor(BaseBeamExecutor):  # type: ignore[misc]
    """Learns from the train split; transforms train and eval."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the transform graph and the transformed examples.

        Args:
            input_dict: `examples`, `schema`.
            output_dict: `transform_graph`, `transformed_examples`.
            exec_properties: `custom_config` holds the `TransformSettings`, as `config`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        graph = artifact_utils.get_single_uri(output_dict["transform_graph"])
        transformed = artifact_utils.get_single_instance(output_dict["transformed_examples"])
        transformed.split_names = artifact_utils.encode_split_names([TRAIN, EVAL])

        custom_config = json_utils.loads(
            exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY]
        )
        settings = TransformSettings.from_property(custom_config["config"])
        schema = _read_schema(artifact_utils.get_single_uri(input_dict["schema"]))
        columns = input_columns(settings)
        shards = [
            shard
            for split in (TRAIN, EVAL)
            for shard in find_shards(*_split_folders(split, examples, transformed))
        ]

        temporary = str(Path(graph, TEMPORARY))
        preprocess = partial(preprocessing_fn, custom_config=custom_config)
        Path(transformed.uri).mkdir(parents=True, exist_ok=True)
        with (
            TemporaryDirectory(dir=transformed.uri) as drafts,
            self._make_beam_pipeline() as pipeline,
            tft_beam.Context(temporary),
        ):
            source = _source(examples, schema, columns)
            saved_model, metadata = _analyse(pipeline, source, schema, preprocess, graph)
            transform = TransformShard(schema, columns, metadata.schema, drafts)
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards, reshuffle=True)
                | "TransformShard" >> beam.ParDo(transform, beam.pvalue.AsSingleton(saved_model))
            )
        io_utils.delete_dir(temporary)


def _read_schema(folder: str) -> Schema:
    return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))


def _split_folders(split: str, *artifacts: Artifact) -> list[str]:
    return [artifact_utils.get_split_uri([artifact], split) for artifact in artifacts]


def _source(examples: Artifact, schema: Schema, columns: list[str]) -> TFXIO:
    """Returns the columns that Transform reads of the train split, as a source of batches."""
    [folder] = _split_folders(TRAIN, examples)
    tfxio = tfxio_utils.make_tfxio(
        file_pattern=io_utils.all_files_pattern(folder),
        telemetry_descriptors=["Transform"],
        payload_format=examples_utils.get_payload_format(examples),
        data_view_uri=None,
        schema=schema,
    )
    return tfxio.Project(columns)


def _analyse(
    pipeline: beam.Pipeline, source: TFXIO, schema: Schema, preprocess: Any, folder: str
) -> Any:
    """Analyses a split and writes the transform graph with its metadata; returns the graph."""
    batches = pipeline | "ReadForAnalysis" >> source.BeamSource()
    learned = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(preprocess)

    raw = tft.DatasetMetadata(schema)
    raw_folder = str(Path(folder, tft.TFTransformOutput.RAW_METADATA_DIR))
    _ = raw | "WriteRawMetadata" >> tft_beam.WriteMetadata(raw_folder, pipeline)
    _ = learned | tft_beam.WriteTransformFn(folder)
    return learned
