"""Transforms examples file by file: a task reads one file, applies the graph, and writes another.

Beam hands the tasks out, and the examples do not travel through it. So each file keeps the order of
its examples on every runner, and the files together the order of the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from apache_beam.utils.shared import Shared
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_transform.impl_helper import make_tensor_to_arrow_converter
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder, RecordBatchToExamplesEncoder
from tfx_bsl.tfxio.tensor_adapter import TensorAdapter, TensorAdapterConfig
from tfx_bsl.tfxio.tensor_representation_util import (
    InferTensorRepresentationsFromMixedSchema,
    ProjectTensorRepresentationsInSchema,
)

from components.files.records import in_batches, new_records, read_records

PREFIX = "transformed_examples"  # of the files of a split, as TFX has it


@dataclass(frozen=True)
class Shard:
    """A file of examples, and the file that their transformed ones are written to."""

    source: str
    target: str


def find_shards(source: str, target: str) -> list[Shard]:
    """Returns the files of a split in their order, each with the name of the one made of it.

    Args:
        source: the folder of the split's examples.
        target: the folder of its transformed examples.
    """
    files = sorted(path for path in Path(source).iterdir() if not path.name.startswith("."))
    return [
        Shard(str(path), str(Path(target, f"{PREFIX}-{number:05d}-of-{len(files):05d}.gz")))
        for number, path in enumerate(files)
    ]


class TransformShard(beam.DoFn):  # type: ignore[misc]
    """Transforms the examples of a file.

    A runner may have a file transformed again, even twice at the same time: the bytes are the same
    each time, and a file is there as a whole or not at all.
    """

    def __init__(
        self, raw: Schema, columns: Sequence[str], transformed: Schema, drafts: str
    ) -> None:
        """Loads nothing yet.

        Args:
            raw: the schema of the examples.
            columns: those that the graph reads.
            transformed: the schema of what it gives.
            drafts: a folder for files that are not whole, on the file system of the targets.
        """
        self._raw = ProjectTensorRepresentationsInSchema(raw, columns)
        self._transformed = transformed
        self._drafts = drafts
        self._graph = Shared()  # loaded once per process, not per thread

    def setup(self) -> None:
        """Makes the coders, which are not picklable."""
        self._decoder = ExamplesToRecordBatchDecoder(self._raw.SerializeToString())
        representations = InferTensorRepresentationsFromMixedSchema(self._raw)
        config = TensorAdapterConfig(self._decoder.ArrowSchema(), representations)
        self._adapter = TensorAdapter(config)
        self._converter = make_tensor_to_arrow_converter(self._transformed)
        self._encoder = RecordBatchToExamplesEncoder(self._transformed)

    def process(self, shard: Shard, saved_model: str) -> None:
        """Writes the transformed examples.

        Args:
            shard: which.
            saved_model: the folder of the graph.
        """
        graph = self._graph.acquire(partial(SavedModelLoader, saved_model), tag=saved_model)
        with new_records(shard.target, self._drafts) as writer:
            for records in in_batches(read_records(Path(shard.source))):
                tensors = self._adapter.ToBatchTensors(
                    self._decoder.DecodeBatch(records), produce_eager_tensors=True
                )
                transformed = self._converter.convert(graph.apply_transform_model(tensors))
                for example in self._encode(transformed):
                    writer.write(example)

    def _encode(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Encodes rows as `tf.Example`s, each column alone.

        The coder writes the features of an example in an order that changes from process to
        process. Concatenated messages are one merged message.
        """
        columns = zip(batch.schema.names, batch.columns, strict=True)
        parts = [self._encode_column(name, column) for name, column in columns]
        return map(b"".join, zip(*parts, strict=True))

    def _encode_column(self, name: str, column: pa.Array) -> list[bytes]:
        encoded: list[bytes] = self._encoder.encode(pa.RecordBatch.from_arrays([column], [name]))
        if not pa.types.is_large_list(column.type.value_type):
            return encoded
        # Lists of lists become several features: the values, and the lengths of the lists.
        return [
            tf.train.Example.FromString(part).SerializeToString(deterministic=True)
            for part in encoded
        ]
