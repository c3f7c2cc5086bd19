"""From joined rows to serialized `tf.Example`s."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, UNIT
from components.event_log.spec import LogSpec


def feature_columns(spec: LogSpec) -> list[str]:
    """Returns the names of an example's features: keys, label, columns of outcomes, steps."""
    return [
        LEARNER,
        UNIT,
        AS_OF,
        NUM_STEPS,
        spec.label.column,
        *spec.outcome_columns,
        *spec.features,
    ]


def encode(joined: pl.DataFrame, columns: Sequence[str]) -> list[bytes]:
    """Encodes the named columns of each row as one `tf.Example`.

    tfx-bsl's coder writes a map's entries in an order that changes from process to process. So every column is
    encoded alone and a row's parts are joined: concatenated messages are by definition of the format one merged
    message, and TensorFlow's and tfx-bsl's parsers hold to it. Same rows, same bytes.

    Args:
        joined: text becomes bytes, timestamps int64 microseconds, integers int64, floats float32; a list column
            becomes a feature of as many values (a null in it: `b""`, NaN), other columns features of one value.
        columns: which columns, in which order.

    Returns:
        One message per row; a null that is no list element leaves its feature out.
    """
    coder = RecordBatchToExamplesEncoder()
    parts = [_encode_column(coder, name, joined[name]) for name in columns]
    return [b"".join(row) for row in zip(*parts, strict=True)]


def _encode_column(
    coder: RecordBatchToExamplesEncoder, name: str, column: pl.Series
) -> list[bytes]:
    values = _lists(column)
    encoded: list[bytes] = coder.encode(pa.RecordBatch.from_arrays([values], [name]))
    if values.null_count:
        return [
            b"" if missing else part
            for part, missing in zip(encoded, values.is_null().to_pylist(), strict=True)
        ]
    return encoded


def _lists(column: pl.Series) -> pa.Array:
    """Returns the column as lists of one of the three types that a feature can have."""
    array = column.to_arrow()
    if isinstance(column.dtype, pl.List):
        values = _feature_values(array.values)
        if values.null_count:
            values = pc.fill_null(
                values, b"" if pa.types.is_large_binary(values.type) else float("nan")
            )
        return pa.LargeListArray.from_arrays(array.offsets, values)
    offsets = pa.array(range(len(array) + 1), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, _feature_values(array), mask=array.is_null())


def _feature_values(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type) or pa.types.is_integer(array.type):
        return array.cast(pa.int64())
    if pa.types.is_floating(array.type):
        return array.cast(pa.float32())
    return array.cast(pa.large_string()).cast(pa.large_binary())
