"""Transform's executor: analyses the train split, writes the transform graph, transforms splits.

It does what TFX's executor does with TensorFlow Transform for a node that has one input, no
analyzer cache and no statistics. TFX's traces the preprocessing function four times more, to find
out what we know: which columns it reads, and that it has to be analysed. TFX's writes transformed
examples in the order in which a runner happens to hand them on; see `components.transform.shards`.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_transform.tf_metadata.metadata_io import write_metadata
from tfx.components.util import examples_utils, tfxio_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, json_utils
from tfx_bsl.tfxio.tfxio import TFXIO

from components.contracts.names import SPLITS
from components.files.atomic import write_text
from components.node.settings import TransformSettings
from components.transform.preprocessing import input_columns, preprocessing_fn
from components.transform.shards import TransformShard, find_shards

TRAIN, EVAL, _ = SPLITS
TEMPORARY = ".temp_path"  # below the transform graph, as TFX has it
_FOLDERS = "folders.json"  # in it: where the workers have left the graph and its metadata


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
            saved_model, transformed_schema = _analyse(pipeline, source, preprocess, temporary)
            transform = TransformShard(schema, columns, transformed_schema, drafts)
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards, reshuffle=True)
                | "TransformShard" >> beam.ParDo(transform, beam.pvalue.AsSingleton(saved_model))
            )
        _publish(temporary, schema, graph)
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
    pipeline: beam.Pipeline, source: TFXIO, preprocess: Any, temporary: str
) -> tuple[beam.PCollection, Schema]:
    """Analyses the train split; notes in `temporary` where the graph and its metadata are.

    Returns:
        The folder of the graph, and the schema of what it gives.
    """
    batches = pipeline | "ReadForAnalysis" >> source.BeamSource()
    dataset = (batches, source.TensorAdapterConfig())
    saved_model, metadata = dataset | tft_beam.AnalyzeDataset(preprocess)

    # Unlike TensorFlow Transform's own `WriteTransformFn`, which moves what it has written and
    # cannot be tried again: each attempt writes a folder of its own, and the last one is noted.
    write = tft_beam.WriteMetadata(temporary, pipeline, write_to_unique_subdirectory=True)
    _ = (
        metadata
        | "WriteTransformedMetadata" >> write
        | "NoteFolders"
        >> beam.Map(_note_folders, beam.pvalue.AsSingleton(saved_model), Path(temporary, _FOLDERS))
    )
    return saved_model, metadata.schema


def _note_folders(metadata: str, saved_model: str, path: Path) -> None:
    folders = {"metadata": metadata, "saved_model": saved_model}
    write_text(path, json.dumps(folders), drafts=path.parent)


def _publish(temporary: str, raw: Schema, folder: str) -> None:
    """Copies what workers have left to the places where `TFTransformOutput` reads it."""
    folders = json.loads(Path(temporary, _FOLDERS).read_bytes())
    output = tft.TFTransformOutput
    # Hidden files are notes of TensorFlow Transform for itself.
    visible = shutil.ignore_patterns(".*")
    shutil.copytree(folders["saved_model"], Path(folder, output.TRANSFORM_FN_DIR), ignore=visible)
    shutil.copytree(folders["metadata"], Path(folder, output.TRANSFORMED_METADATA_DIR))
    write_metadata(tft.DatasetMetadata(raw), str(Path(folder, output.RAW_METADATA_DIR)))
