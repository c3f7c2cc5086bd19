"""Typed values become the text that CSV or JSON would hold, without loss."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.mapping import EventMapping
from components.event_log.chunks import Chunk
from components.event_log.readers import read_chunks
from components.event_log.record_text import text_of
from components.event_log.sources import LogFile

ZURICH = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pl.Series([12.0, None, 3.5]), ["12", None, "3.5"]),
        (pl.Series([2.0**60, 1e300, float("nan")]), ["1.152921504606847e+18", "1e+300", "NaN"]),
        (pl.Series([2**63 - 1, -(2**63), None]), [str(2**63 - 1), str(-(2**63)), None]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), [str(2**64 - 1)]),
        (pl.Series([0.1, 7], dtype=pl.Float32), ["0.1", "7"]),
        (pl.Series([True, False, None]), ["true", "false", None]),
        (pl.Series([Decimal("12.0000000000"), Decimal("1.5000000000")]), ["12", "1.5000000000"]),
        (pl.Series([date(2024, 5, 1)]), ["2024-05-01"]),
        (pl.Series([time(3, 4, 5)]), ["03:04:05"]),
        (pl.Series([timedelta(minutes=1, seconds=30)]), ["PT1M30S"]),
        (pl.Series([datetime(2024, 5, 1, 12, tzinfo=UTC)]), ["2024-05-01T12:00:00.000000+00:00"]),
        (pl.Series([datetime(2024, 5, 1, 12)]), ["2024-05-01T12:00:00.000000"]),  # noqa: DTZ001
        (pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        (pl.Series([None, None]), [None, None]),
        (pl.Series([b"text", b"\xff\x00"]), ["text", "ff00"]),
        (pl.Series([[1, 2], None, []]), ["[1,2]", None, "[]"]),
        (pl.Series([{"a": {"b": ["x", None]}}, None]), ['{"a":{"b":["x",null]}}', None]),
    ],
)
def test_typed_values_as_text(values: pl.Series, texts: list[str | None]) -> None:
    assert text_of(values).to_list() == texts


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_come_back(values: list[float | None]) -> None:
    texts = text_of(pl.Series(values, dtype=pl.Float64)).to_list()
    assert [None if text is None else float(text) for text in texts] == values


_JSON = st.dictionaries(
    st.sampled_from("ab"), st.lists(st.text() | st.none(), max_size=3), max_size=2
)


@given(st.lists(st.none() | _JSON, min_size=1, max_size=5))
def test_structs_come_back(values: list[dict[str, list[str]] | None]) -> None:
    dtype = pl.Struct({"a": pl.List(pl.String), "b": pl.List(pl.String)})
    column = pl.Series(values, dtype=dtype)
    texts = text_of(column).to_list()
    assert [None if text is None else json.loads(text) for text in texts] == column.to_list()


def test_nested_parquet_is_read_by_paths(tmp_path: Path) -> None:
    at = datetime(2024, 5, 1, 14, tzinfo=ZURICH)
    rows = pa.table(
        {
            "actor": [{"account": {"name": b"ann", "since": at, "id": 2**60}}, None],
            "groups": [[{"id": 7}, {"id": 8}], []],
            "at": pa.array([at, at], pa.timestamp("ms", "Europe/Zurich")),
            "id": [1.0, None],
        }
    )
    pq.write_table(rows, tmp_path / "log.parquet")
    mapping = EventMapping.model_validate(
        {
            "columns": {
                "who": ["actor.account.name", {"constant": "nobody"}],
                "group": "groups[1].id",
                "time": "at",
                "number": "id",
                "since": "actor.account.since",
                "account": "actor.account.id",
            }
        }
    )
    file = LogFile(str(tmp_path / "log.parquet"), "parquet", 0)
    chunks = read_chunks(file, [*mapping.columns], mapping)
    frames = [chunk.frame for chunk in chunks if isinstance(chunk, Chunk)]
    assert pl.concat(frames).rows() == [
        ("ann", "8", "2024-05-01T12:00:00.000+00:00", "1", "2024-05-01T12:00:00+00:00", str(2**60)),
        ("nobody", None, "2024-05-01T12:00:00.000+00:00", None, None, None),
    ]
