"""Parquet, and columns in the names of folders."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.event_log import readers

Read = Callable[..., tuple[pl.DataFrame, list[int], list[str]]]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.parquet"
    pl.DataFrame({"a": range(1000), "b": ["x"] * 1000}).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda content: content[:-100], "one without its footer ("),
        (lambda _: b"", "an empty file (0 bytes)"),
        (lambda _: b"a,b\n1,2\n", "another format (it starts with b'a,b\\n')"),
        (
            lambda content: content[:4] + b"\0" * (len(content) - 8) + content[-4:],
            "one that cannot be read: ",
        ),
    ],
)
def test_half_written_parquet(
    read: Read, spoil: Callable[[bytes], bytes], found: str, whole: Path
) -> None:
    content = whole.read_bytes()
    whole.write_bytes(spoil(content))
    frame, _, (problem,) = read(whole, "a")
    assert frame.is_empty()
    assert problem.startswith(f"whole.parquet: expected a complete Parquet file, found {found}")


def test_parquet_in_chunks(read: Read, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "CHUNK_VALUES", 600)
    frame, numbers, problems = read(whole, "b", "a", "missing")
    assert frame.columns == ["b", "a"]
    assert frame["a"].to_list() == list(range(1000))
    assert numbers == list(range(1, 1001))
    assert problems == []


@pytest.mark.parametrize("zone", ["+05:30", "+00:00", "Mars/Base", "Europe/Zurich", None])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_timestamps_of_any_zone_are_what_is_stored(
    read: Read, zone: str | None, unit: str, tmp_path: Path
) -> None:
    pq.write_table(
        pa.table({"a": pa.array([1_709_544_600_000, None], pa.timestamp(unit, zone))}),
        tmp_path / "x.pq",
    )
    frame, _, problems = read(tmp_path / "x.pq", "a")
    assert problems == []
    assert frame["a"].dtype == pl.Datetime(unit, "UTC" if zone else None)
    assert frame["a"].to_physical().to_list() == [1_709_544_600_000, None]


def test_parquet_zones_within_a_list_are_refused(read: Read, tmp_path: Path) -> None:
    times = pa.array([[1]], pa.list_(pa.timestamp("us", "+05:30")))
    pq.write_table(pa.table({"a": pa.array([2]), "b": times}), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet", "a")[0].rows() == [(2,)]
    _, _, [problem] = read(tmp_path / "x.parquet", "a", "b")
    assert problem.startswith(
        "x.parquet, column b: expected text, numbers, booleans or times, found list<"
    )


def test_parquet_decimals_that_are_too_long_are_named(read: Read, tmp_path: Path) -> None:
    values = pa.array([Decimal(1), Decimal("9" * 60)], pa.decimal256(76, 0))
    pq.write_table(pa.table({"a": values[:1], "b": values[1:]}), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet", "a")[0]["a"].to_list() == [Decimal(1)]
    frame, _, problems = read(tmp_path / "x.parquet", "a", "b")
    assert frame.is_empty()
    assert problems == [
        "x.parquet, column b: expected decimals of at most 38 digits, found a longer one in "
        "decimal256(76, 0)"
    ]


def test_other_columns_may_be_repeated_and_in_any_encoding(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("a,n,n\n1,ü,ö\n".encode("latin-1"))
    frame, numbers, problems = read(path, "a")
    assert (frame.rows(), numbers, problems) == ([("1",)], [2], [])
    table = pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "n", "n"])
    pq.write_table(table, tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet", "a")[0].rows() == [(1,)]
    _, _, (problem,) = read(tmp_path / "log.parquet", "n")
    assert (
        problem
        == "log.parquet, column n: expected one column of this name, found 2, in the places 2, 3"
    )


def test_columns_of_the_path(read: Read, tmp_path: Path) -> None:
    folder = tmp_path / "unit_id=algebra%201" / "year=2024" / "a=path"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("a,b\n1,2\n3,4\n")
    frame, _, problems = read(folder / "log.csv", "unit_id", "a", "year")
    assert frame.select("unit_id", "a", "year").rows() == [
        ("algebra 1", "1", "2024"),
        ("algebra 1", "3", "2024"),
    ]
    pl.DataFrame({"a": [1]}).write_parquet(folder / "log.parquet")
    frame, _, more = read(folder / "log.parquet", "unit_id", "year", "b")
    assert frame.rows() == [("algebra 1", 2024)]
    assert read(folder / "log.csv", "unit_id")[0].rows() == [("algebra 1",), ("algebra 1",)]
    assert problems + more == []


def test_a_file_of_nothing_has_no_rows(read: Read, tmp_path: Path) -> None:
    for name, content in (("a.csv", b"\xef\xbb\xbf"), ("b.csv", b"\n\n"), ("c.jsonl", b"\n \n")):
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name, "a")[1:] == ([], [])
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b""))
    assert read(tmp_path / "d.csv.gz", "a")[1:] == ([], [])
