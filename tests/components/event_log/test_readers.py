"""Files that are damaged, and files in other formats."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from components.event_log import parquet_reader, text_source
from components.event_log.files import LogFile, format_of
from components.event_log.problems import Problem
from components.event_log.readers import Chunk, read_chunks


def read(path: Path, *columns: str) -> tuple[pl.DataFrame, list[int], list[str]]:
    """Returns all rows of a file, what they are called, and its problems without the folder."""
    file = LogFile(str(path), format_of(str(path)) or "", 0)
    frames, numbers, problems = [], [], []
    for item in read_chunks(file, columns):
        if isinstance(item, Chunk):
            frames.append(item.frame)
            numbers += list(item.numbers)
        else:
            assert isinstance(item, Problem)
            problems.append(str(item).replace(f"{path.parent}/", ""))
    return pl.concat(frames) if frames else pl.DataFrame(), numbers, problems


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
        (lambda content: content[:4] + b"\0" * (len(content) - 8) + content[-4:], "one that cannot be read: "),
    ],
)
def test_half_written_parquet(spoil: Callable[[bytes], bytes], found: str, whole: Path) -> None:
    content = whole.read_bytes()
    whole.write_bytes(spoil(content))
    frame, _, (problem,) = read(whole, "a")
    assert frame.is_empty()
    assert problem.startswith(f"whole.parquet: expected a complete Parquet file, found {found}")


def test_parquet_in_chunks(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_reader, "CHUNK_ROWS", 300)
    frame, numbers, problems = read(whole, "b", "a", "missing")
    assert frame.columns == ["b", "a"]
    assert frame["a"].to_list() == list(range(1000))
    assert numbers == list(range(1, 1001))
    assert problems == []


def test_csv_as_text(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes('\ufeffa,b,c\n1,,"x, ""y"""\n007,"",é\n'.encode())
    frame, numbers, problems = read(path, "c", "a", "b")
    assert frame.rows() == [('x, "y"', "1", None), ("é", "007", "")]
    assert (numbers, problems) == ([2, 3], [])


def test_csv_with_ragged_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,2\n3\n4,5\n6,7,8\n9,10\n\n")
    frame, numbers, problems = read(path, "a")
    assert frame["a"].to_list() == ["1", "4", "9"]
    assert numbers == [2, 4, 6]
    assert problems == ["log.csv, line 3: expected 2 fields as in the header, found 1: '3'; so too in line 5"]


def test_csv_in_chunks_with_ragged_rows_counts_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_source, "BLOCK_BYTES", 50)
    path = tmp_path / "log.csv"
    path.write_text("a,b\n" + "".join("x\n" if row % 10 == 3 else f"{row},0\n" for row in range(100)))
    frame, numbers, (problem,) = read(path, "a")
    assert [int(value) + 2 for value in frame["a"]] == numbers
    assert "line 5: expected 2 fields" in problem
    assert problem.endswith("so too in line 15, 25 and 7 more")


def test_csv_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("a,b\n1,ok\n2,Z\xfcrich\n".encode("latin-1"))
    _, _, problems = read(path, "b")
    assert problems == ["log.csv, line 3: expected UTF-8 text, found b'2,Z\\xfcrich\\n'"]


def test_csv_without_a_byte(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.touch()
    _, numbers, problems = read(path, "a")
    assert (numbers, problems) == ([], [])


def test_csv_cut_off_within_its_compression(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20])
    _, _, (problem,) = read(path, "a")
    assert problem.startswith("log.csv.gz: expected a readable CSV file, found ")


def test_jsonl_as_text(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1, "b": "x", "other": [1]}\n\n{"a": 1.5}\n{"b": true, "a": null}', encoding="utf-8")
    frame, numbers, problems = read(path, "b", "a", "missing")
    assert frame.rows() == [("x", "1"), (None, "1.5"), ("true", None)]
    assert (numbers, problems) == ([1, 3, 4], [])


def test_jsonl_with_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2\n[3]\n{"a": "\xfc"}\n{"a": NaN}\n')
    frame, numbers, (problem,) = read(path, "a")
    assert frame["a"].to_list() == ["1", "NaN"]
    assert numbers == [1, 5]
    assert problem == (
        "log.jsonl, line 2: expected a JSON object in UTF-8, found "
        "'{\"a\": 2' (Expecting ',' delimiter at character 8); so too in line 3, 4"
    )


def test_jsonl_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_source, "BLOCK_BYTES", 64)
    path = tmp_path / "log.ndjson.gz"
    lines = [json.dumps({"a": row, "b": "x" * (row % 50)}) for row in range(200)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    frame, numbers, problems = read(path, "a")
    assert frame["a"].cast(int).to_list() == list(range(200))
    assert (numbers, problems) == (list(range(1, 201)), [])


def test_jsonl_cut_off_within_its_compression(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 10_000)[:-20])
    _, _, (problem,) = read(path, "a")
    assert problem.startswith("log.jsonl.gz: expected readable JSON lines, found Compressed file ended")
