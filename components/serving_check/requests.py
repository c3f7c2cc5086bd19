"""From test examples to the requests that a client would send, for both signatures, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.contracts.names import NUM_STEPS

Tensors = dict[str, np.ndarray[Any, Any]]
MISSING: dict[str, object] = {
    "string": b"",
    "float32": np.nan,
    "int64": 0,
}  # int64 has none: see `expressible`
PADDING: dict[str, object] = {"string": b"", "float32": 0.0}


@dataclass(frozen=True)
class Inputs:
    """What a model reads, from the configuration it was made with."""

    steps: tuple[str, ...]  # features with a value a step
    outcomes: tuple[str, ...]  # columns with one value: context, and what groups the prior

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Inputs:
        """Takes the names from a configuration as `assets.extra/mastery.json` holds it."""
        outcomes = dict.fromkeys([*config["context"], *config["prior"]["group_by"]])
        return cls(tuple(config["steps"]["features"]), tuple(outcomes))

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, `num_steps` first."""
        return (NUM_STEPS, *self.steps, *self.outcomes)


def only_inputs(examples: Sequence[bytes], inputs: Inputs) -> list[bytes]:
    """Takes everything out of serialized examples that is no input: label, learner, slices.

    A client does not know the label, and a model's folder is no place for the names of learners.
    """
    stripped = []
    for serialized in examples:
        example = tf.train.Example.FromString(serialized)
        for name in set(example.features.feature) - set(inputs.names):
            del example.features.feature[name]
        stripped.append(example.SerializeToString(deterministic=True))
    return stripped


def cold_start(example: bytes, inputs: Inputs) -> bytes:
    """Returns the serialized example as it would be with no event at all."""
    emptied = tf.train.Example.FromString(example)
    for name in inputs.steps:
        feature = emptied.features.feature[name]
        if feature.WhichOneof("kind"):
            del getattr(feature, feature.WhichOneof("kind")).value[:]
    emptied.features.feature[NUM_STEPS].int64_list.value[:] = [0]
    serialized: bytes = emptied.SerializeToString(deterministic=True)
    return serialized


def decode(examples: Sequence[bytes]) -> pa.RecordBatch:
    """Decodes serialized examples into columns of lists; a feature that no example has is no column."""
    return ExamplesToRecordBatchDecoder().DecodeBatch(list(examples))


def dense(batch: pa.RecordBatch, inputs: Inputs, dtypes: Mapping[str, str]) -> Tensors:
    """Turns decoded examples into the tensors of `predict_steps`.

    Args:
        batch: B examples.
        inputs: what the model reads.
        dtypes: string, float32 or int64, for every name of `inputs`, as the signature has them.

    Returns:
        [B, T] for features of steps, right-padded to the longest of the B sequences; [B] for the others.
    """
    tensors = {name: _padded(batch, name, dtypes[name]) for name in inputs.steps}
    for name in (NUM_STEPS, *inputs.outcomes):
        tensors[name] = _single(batch, name, dtypes[name])
    return tensors


def expressible(
    batch: pa.RecordBatch, inputs: Inputs, dtypes: Mapping[str, str]
) -> np.ndarray[Any, Any]:
    """Says which examples `predict_steps` can be asked about: a missing integer cannot be put into a tensor."""
    possible = np.ones(batch.num_rows, dtype=bool)
    for name in inputs.outcomes:
        if dtypes[name] == "int64":
            possible &= _lists(batch, name)[0] > 0
    return possible


def wrong_types(batch: pa.RecordBatch, inputs: Inputs, dtypes: Mapping[str, str]) -> list[str]:
    """Lists the inputs of `predict_steps` that are text where the examples hold numbers, or the other way."""
    problems = []
    for name in set(inputs.names) & set(batch.schema.names):
        found = batch.column(batch.schema.get_field_index(name)).type
        if not pa.types.is_null(found) and pa.types.is_large_binary(found.value_type) != (
            dtypes[name] == "string"
        ):
            problems.append(
                f"predict_steps, input {name}: expected {found.value_type}, found {dtypes[name]}"
            )
    return sorted(problems)


def predict_request(model_name: str, signature: str, tensors: Tensors) -> PredictRequest:
    """Packs tensors into the request that TensorFlow Serving takes."""
    request = PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    for name, tensor in sorted(tensors.items()):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor, shape=tensor.shape))
    return request


def _padded(batch: pa.RecordBatch, name: str, dtype: str) -> np.ndarray[Any, Any]:
    lengths, values = _lists(batch, name)
    padded = np.full((len(lengths), lengths.max(initial=0)), PADDING[dtype], dtype=_numpy(dtype))
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = values
    return padded


def _single(batch: pa.RecordBatch, name: str, dtype: str) -> np.ndarray[Any, Any]:
    lengths, values = _lists(batch, name)
    single: np.ndarray[Any, Any] = np.full(len(lengths), MISSING[dtype], dtype=_numpy(dtype))
    single[lengths > 0] = values
    return single


def _lists(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns how many values each example has, [B], and all values one after the other."""
    position = batch.schema.get_field_index(name)
    if position < 0 or pa.types.is_null(batch.column(position).type):
        return np.zeros(batch.num_rows, dtype=np.int64), np.empty(0)
    column = batch.column(position)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return lengths, column.flatten().to_numpy(zero_copy_only=False)


def _numpy(dtype: str) -> type:
    return object if dtype == "string" else np.dtype(dtype).type
