"""Runs the preprocessing function on real Beam, with a few examples given as columns."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig
from tfx_bsl.tfxio.tensor_representation_util import InferTensorRepresentationsFromSchema

from components.config import Beam
from components.contracts.names import LEARNER
from components.transform.preprocessing import preprocessing_fn

Columns = dict[str, list[list[Any]]]
TYPES = {
    "string": schema_pb2.BYTES,
    "binary": schema_pb2.BYTES,
    "int64": schema_pb2.INT,
    "float": schema_pb2.FLOAT,
}
DTYPES = {"string": tf.string, "binary": tf.string, "int64": tf.int64, "float": tf.float32}


def sections(features: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Returns the sections of a configuration that Transform reads, with three classes."""
    label = {"column": "mastery", "classes": ["low", "mid", "high"]}
    prior = {"group_by": ["unit_id"], "smoothing": 2.0}
    steps = {"features": features, "min_steps": others.pop("min_steps", 1)}
    return {"steps": steps, "context": {}, "prior": prior, "label": label, **others}


def analyse(
    folder: Path, sections: dict[str, Any], *train: pa.RecordBatch
) -> tft.TFTransformOutput:
    """Analyses the examples, in these batches, and writes the transform graph to `folder`."""
    schema = raw_schema(train[0])
    adapter = TensorAdapterConfig(train[0].schema, InferTensorRepresentationsFromSchema(schema))
    with beam.Pipeline(argv=Beam().options) as pipeline, tft_beam.Context(str(folder / "tmp")):
        _ = (
            (pipeline | beam.Create(train, reshuffle=False), adapter)
            | tft_beam.AnalyzeDataset(
                lambda inputs: preprocessing_fn(inputs, {"config": json.dumps(sections)})
            )
            | tft_beam.WriteTransformFn(str(folder))
        )
    return tft.TFTransformOutput(str(folder))


def raw_schema(batch: pa.RecordBatch) -> schema_pb2.Schema:
    """Returns a schema as the curated ones are: every column a list, ragged."""
    schema = schema_pb2.Schema(represent_variable_length_as_ragged=True)
    for field in batch.schema:
        schema.feature.add(name=field.name, type=TYPES[str(field.type.value_type)])
    return schema


def examples(columns: Columns) -> pa.RecordBatch:
    """Returns columns of lists as a record batch; floats are float32 as in examples."""
    arrays = {name: pa.array(values) for name, values in columns.items()}
    narrow = {
        name: item.cast(pa.list_(pa.float32()))
        for name, item in arrays.items()
        if item.type.value_type == "double"
    }
    return pa.RecordBatch.from_pydict({**arrays, **narrow})


def one_by_one(shared: Columns, steps: Collection[str]) -> Columns:
    """Returns the outcomes of shared examples, each in an example with the steps that it sees.

    Args:
        shared: columns with a list per example: of steps, or of values of outcomes. NaN and "" are
            missing, and so left out of an example with one outcome.
        steps: names of the columns of steps.
    """
    alone: Columns = {name: [] for name in shared}
    for name, lists in shared.items():
        for values, counts in zip(lists, shared["num_steps"], strict=True):
            if name in steps:
                alone[name] += [values[:count] for count in counts]
            elif name == LEARNER:
                alone[name] += [values for _ in counts]
            else:
                known = [value != "" and value == value for value in values]  # NaN is not
                alone[name] += [
                    [value] if there else [] for value, there in zip(values, known, strict=True)
                ]
    return alone


def apply(output: tft.TFTransformOutput, batch: pa.RecordBatch) -> dict[str, list[Any]]:
    """Transforms other examples, as the served model does; returns lists by transformed name."""
    inputs = {
        name: tf.ragged.constant(
            batch.column(name).to_pylist(), DTYPES[str(batch.column(name).type.value_type)], 1
        )
        for name in batch.schema.names
    }
    return {
        name: as_list(value) for name, value in output.transform_features_layer()(inputs).items()
    }


def as_list(value: Any) -> list[Any]:
    """Returns a dense or ragged tensor as nested lists."""
    return value.to_list() if isinstance(value, tf.RaggedTensor) else value.numpy().tolist()
