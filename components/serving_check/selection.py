"""Which test examples are replayed: spread over the split, the same ones every time, cold starts among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import tensorflow as tf
from tensorflow_metadata.proto.v0.schema_pb2 import BYTES, FLOAT, INT, Feature, Schema
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.contracts.names import AS_OF, BASIS, BASIS_PRIOR, LEARNER, UNIT

KEYS = [LEARNER, UNIT, AS_OF]
COLD_SHARE = 5  # one in this many is a cold start, where there are that many
BATCH = 4096  # records decoded at a time


def choose(predictions: pl.DataFrame, count: int) -> pl.DataFrame:
    """Returns `count` rows of the Evaluator's predictions, or all when there are fewer.

    Cold starts come first; there is at least one, when the split has any. Both kinds are spread evenly
    over the rows in order of their keys, so the choice does not hang on how the split was written.
    """
    ordered = predictions.sort(KEYS)
    cold = ordered.filter(pl.col(BASIS) == BASIS_PRIOR)
    warm = ordered.filter(pl.col(BASIS) != BASIS_PRIOR)
    some = min(cold.height, -(-count // COLD_SHARE))
    others = min(warm.height, count - some)
    return pl.concat([_spread(cold, min(cold.height, count - others)), _spread(warm, others)])


def find_examples(files: Sequence[str], chosen: pl.DataFrame) -> list[bytes | None]:
    """Finds the serialized example of each chosen row in a split's TFRecords; None where there is none.

    The records are read once, and nothing but their keys is decoded.
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
        matches = keys.with_row_index("record").join(wanted, on=KEYS)
        found |= {
            row: records[record] for row, record in matches.select("row", "record").iter_rows()
        }
        if len(found) == wanted.height:
            break
    return [found.get(row) for row in range(wanted.height)]


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
