"""Turns test examples into the requests that a client would send, for both signatures.

`choose` and `find_examples` pick the examples that are replayed; `Interview` asks about them in one
batch and one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0.schema_pb2 import BYTES, FLOAT, INT, Feature, Schema
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.contracts.names import (
    AS_OF,
    BASIS,
    BASIS_PRIOR,
    EXAMPLES,
    EXPLAIN,
    EXPLAIN_STEPS,
    EXPLAINED_CLASS,
    LEARNER,
    NUM_STEPS,
    PREDICT_STEPS,
    SERVING_DEFAULT,
    UNIT,
)

if TYPE_CHECKING:
    from components.contracts.model_card import ModelCard

KEYS = [LEARNER, UNIT, AS_OF]
COLD_SHARE = 5  # one in this many is a cold start, if the split has enough
BATCH = 4096  # records decoded at a time
# int64 has no missing value: see `expressible`.
MISSING: dict[str, object] = {"string": b"", "float32": np.nan, "int64": 0}
PADDING: dict[str, object] = {"string": b"", "float32": 0.0}

Array = np.ndarray[Any, Any]
Rows = np.ndarray[Any, np.dtype[np.int64]]
Tensors = dict[str, Array]


def choose(predictions: pl.DataFrame, count: int) -> pl.DataFrame:
    """Returns `count` rows of the Evaluator's predictions, or all when there are fewer.

    Cold starts come first; there is at least one if the split has any. Both kinds are spread evenly
    over the rows in the order of their keys, so the choice does not depend on how the split was
    written.
    """
    ordered = predictions.sort(KEYS)
    cold = ordered.filter(pl.col(BASIS) == BASIS_PRIOR)
    warm = ordered.filter(pl.col(BASIS) != BASIS_PRIOR)

    some = min(cold.height, -(-count // COLD_SHARE))
    others = min(warm.height, count - some)
    return pl.concat([_spread(cold, min(cold.height, count - others)), _spread(warm, others)])


def find_examples(files: Sequence[str], chosen: pl.DataFrame) -> list[bytes | None]:
    """Finds the serialized example of each chosen row in a split's TFRecords; None where missing.

    The records are read once, and only their keys are decoded.
    """
    wanted = chosen.select(KEYS).with_row_index("row")
    if not wanted.schema[AS_OF].is_integer():
        wanted = wanted.with_columns(pl.col(AS_OF).cast(pl.Float32))  # what a tf.Example can hold

    decoder = ExamplesToRecordBatchDecoder(_key_schema(wanted).SerializeToString())
    found: dict[int, bytes] = {}
    for records in _batches(files):
        columns = decoder.DecodeBatch(records)
        keys = pl.DataFrame({name: pl.Series(columns.column(name)).list.first() for name in KEYS})
        keys = keys.with_columns(
            pl.col(LEARNER, UNIT).cast(pl.String), pl.col(AS_OF).cast(wanted.schema[AS_OF])
        )
        matches = keys.with_row_index("record").join(wanted, on=KEYS).select("row", "record")
        found |= {row: records[record] for row, record in matches.iter_rows()}
        if len(found) == wanted.height:
            break
    return [found.get(row) for row in range(wanted.height)]


@dataclass(frozen=True)
class ModelInputs:
    """What a model reads.

    Attributes:
        steps: features with a value per step.
        outcomes: columns with one value: context, and the groups of the prior.
    """

    steps: tuple[str, ...]
    outcomes: tuple[str, ...]

    @classmethod
    def of(cls, card: ModelCard) -> ModelInputs:
        """Returns the inputs that the configuration of a model names."""
        config = card.config
        outcomes = dict.fromkeys([*config["context"], *config["prior"]["group_by"]])
        return cls(tuple(config["steps"]["features"]), tuple(outcomes))

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, `num_steps` first."""
        return (NUM_STEPS, *self.steps, *self.outcomes)


def only_inputs(examples: Sequence[bytes], inputs: ModelInputs) -> list[bytes]:
    """Removes the features that are not inputs from serialized examples: label, learner, slices.

    A client does not know the label, and names of learners do not belong in a model's folder.
    """
    stripped = []
    for serialized in examples:
        example = tf.train.Example.FromString(serialized)
        for name in set(example.features.feature) - set(inputs.names):
            del example.features.feature[name]
        stripped.append(example.SerializeToString(deterministic=True))
    return stripped


def cold_start(example: bytes, inputs: ModelInputs) -> bytes:
    """Returns a serialized example without its events."""
    emptied = tf.train.Example.FromString(example)
    for name in inputs.steps:
        feature = emptied.features.feature[name]
        if feature.WhichOneof("kind"):
            del getattr(feature, feature.WhichOneof("kind")).value[:]
    emptied.features.feature[NUM_STEPS].int64_list.value[:] = [0]
    serialized: bytes = emptied.SerializeToString(deterministic=True)
    return serialized


def decode(examples: Sequence[bytes]) -> pa.RecordBatch:
    """Decodes serialized examples into columns of lists, without features that no example has."""
    return ExamplesToRecordBatchDecoder().DecodeBatch(list(examples))


def dense(batch: pa.RecordBatch, inputs: ModelInputs, dtypes: Mapping[str, str]) -> Tensors:
    """Turns decoded examples into the tensors of `predict_steps`.

    Args:
        batch: B examples.
        inputs: what the model reads.
        dtypes: dtypes in the signature, string, float32 or int64, for every name of `inputs`.

    Returns:
        [B, T] for features of steps, right-padded to the longest of the B sequences; [B] for the
        others.
    """
    tensors = {name: _padded(batch, name, dtypes[name]) for name in inputs.steps}
    for name in (NUM_STEPS, *inputs.outcomes):
        tensors[name] = _single(batch, name, dtypes[name])
    return tensors


def expressible(batch: pa.RecordBatch, inputs: ModelInputs, dtypes: Mapping[str, str]) -> Array:
    """Returns which examples can be sent to `predict_steps`, bool [B].

    An example without a value in an integer column cannot: a tensor has no missing integer.
    """
    possible = np.ones(batch.num_rows, dtype=bool)
    for name in inputs.outcomes:
        if dtypes[name] == "int64":
            possible &= _lists(batch, name)[0] > 0
    return possible


def wrong_types(batch: pa.RecordBatch, inputs: ModelInputs, dtypes: Mapping[str, str]) -> list[str]:
    """Lists inputs of `predict_steps` that are text but numbers in the examples, or reversed."""
    problems = []
    for name in set(inputs.names) & set(batch.schema.names):
        found = batch.column(batch.schema.get_field_index(name)).type
        if pa.types.is_null(found):
            continue

        is_text = pa.types.is_large_binary(found.value_type)
        if is_text != (dtypes[name] == "string"):
            where = f"{PREDICT_STEPS}, input {name}"
            problems.append(f"{where}: expected {found.value_type}, found {dtypes[name]}")
    return sorted(problems)


def predict_request(model_name: str, signature: str, tensors: Tensors) -> PredictRequest:
    """Packs tensors into the request that TensorFlow Serving takes."""
    request = PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    for name, tensor in sorted(tensors.items()):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor, shape=tensor.shape))
    return request


@dataclass(frozen=True)
class Question:
    """Requests to one signature.

    Attributes:
        where: the signature and how it is asked, for messages.
        requests: the requests, in order.
        rows: the examples that they ask about, in order.
    """

    where: str
    requests: list[PredictRequest]
    rows: Rows


@dataclass(frozen=True)
class Interview:
    """The questions that can be asked of one model about serialized examples.

    Attributes:
        model_name: the served name.
        inputs: what the model reads.
        dtypes: dtypes of the inputs of `predict_steps`.
        names_class: whether a request for an explanation names a class.
    """

    model_name: str
    inputs: ModelInputs
    dtypes: Mapping[str, str]
    names_class: bool = True

    def together(self, examples: Sequence[bytes]) -> list[Question]:
        """Asks each signature about all examples at once."""
        requests = [self._default(examples)]
        questions = [Question(f"{SERVING_DEFAULT} in a batch", requests, np.arange(len(examples)))]

        possible = self._expressible(examples)
        if possible.size:
            questions.append(self._about_steps("in a batch", examples, [possible]))
        return questions

    def alone(self, examples: Sequence[bytes], rows: Rows) -> list[Question]:
        """Asks each signature about some rows of the examples, one row per request."""
        requests = [self._default([examples[row]]) for row in rows]
        questions = [Question(f"{SERVING_DEFAULT} alone", requests, rows)]

        possible = np.intersect1d(rows, self._expressible(examples))
        if possible.size:
            single = [possible[[place]] for place in range(possible.size)]
            questions.append(self._about_steps("alone", examples, single))
        return questions

    def explained(self, examples: Sequence[bytes], rows: Rows, alone: Rows) -> list[Question]:
        """Asks for explanations of rows in one batch of each signature, and of some alone.

        A classification is asked about the classes that it predicts.
        """

        def named(count: int) -> Tensors:
            return {EXPLAINED_CLASS: np.full(count, b"", object)} if self.names_class else {}

        def default(asked: Rows) -> PredictRequest:
            tensors = {EXAMPLES: np.array([examples[row] for row in asked], dtype=object)}
            return predict_request(self.model_name, EXPLAIN, tensors | named(len(asked)))

        questions = [
            Question(f"{EXPLAIN} in a batch", [default(rows)], rows),
            Question(f"{EXPLAIN} alone", [default(alone[[at]]) for at in range(alone.size)], alone),
        ]
        possible = np.intersect1d(rows, self._expressible(examples))
        if possible.size:
            tensors = dense(decode([examples[row] for row in possible]), self.inputs, self.dtypes)
            asked = predict_request(self.model_name, EXPLAIN_STEPS, tensors | named(possible.size))
            questions.append(Question(f"{EXPLAIN_STEPS} in a batch", [asked], possible))
        return questions

    def _expressible(self, examples: Sequence[bytes]) -> Rows:
        return np.flatnonzero(expressible(decode(examples), self.inputs, self.dtypes))

    def _about_steps(
        self, how: str, examples: Sequence[bytes], requests: Sequence[Rows]
    ) -> Question:
        """Asks `predict_steps`; each item of `requests` holds the rows of one request."""
        asked = [self._steps([examples[row] for row in rows]) for rows in requests]
        return Question(f"{PREDICT_STEPS} {how}", asked, np.concatenate(requests))

    def _default(self, examples: Sequence[bytes]) -> PredictRequest:
        tensors = {EXAMPLES: np.array(examples, dtype=object)}
        return predict_request(self.model_name, SERVING_DEFAULT, tensors)

    def _steps(self, examples: Sequence[bytes]) -> PredictRequest:
        tensors = dense(decode(examples), self.inputs, self.dtypes)
        return predict_request(self.model_name, PREDICT_STEPS, tensors)


def _spread(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    return rows[np.linspace(0, max(rows.height - 1, 0), count).round().astype(np.int64)]


def _key_schema(wanted: pl.DataFrame) -> Schema:
    as_of = INT if wanted.schema[AS_OF].is_integer() else FLOAT
    types = {LEARNER: BYTES, UNIT: BYTES, AS_OF: as_of}
    return Schema(feature=[Feature(name=name, type=kind) for name, kind in types.items()])


def _batches(files: Sequence[str]) -> Iterator[list[bytes]]:
    compression = "GZIP" if all(name.endswith(".gz") for name in files) else ""
    records = tf.data.TFRecordDataset(sorted(files), compression_type=compression)
    for batch in records.batch(BATCH).as_numpy_iterator():
        yield batch.tolist()


def _padded(batch: pa.RecordBatch, name: str, dtype: str) -> Array:
    lengths, values = _lists(batch, name)
    padded = np.full((len(lengths), lengths.max(initial=0)), PADDING[dtype], dtype=_numpy(dtype))
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = values
    return padded


def _single(batch: pa.RecordBatch, name: str, dtype: str) -> Array:
    lengths, values = _lists(batch, name)
    single: Array = np.full(len(lengths), MISSING[dtype], dtype=_numpy(dtype))
    single[lengths > 0] = values
    return single


def _lists(batch: pa.RecordBatch, name: str) -> tuple[Array, Array]:
    """Returns how many values each example has, [B], and all values in one array."""
    position = batch.schema.get_field_index(name)
    if position < 0 or pa.types.is_null(batch.column(position).type):
        return np.zeros(batch.num_rows, dtype=np.int64), np.empty(0)
    column = batch.column(position)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return lengths, column.flatten().to_numpy(zero_copy_only=False)


def _numpy(dtype: str) -> type:
    return object if dtype == "string" else np.dtype(dtype).type
