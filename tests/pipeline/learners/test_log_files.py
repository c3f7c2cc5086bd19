"""Rows of one learner in files of every format; the rows of others keep their bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from components.errors import MasteryError
from pipeline.learners.log_files import find_rows, remove_rows

CSV = 'id,note\r\nann,"two\r\nlines, ann"\r\nben,"ann ""quoted"""\r\n\r\nann,x\r\nanna,ann\r\n'
JSON_LINES = """{"id": "ann", "n": 1}

{"n":2,  "id":"ben"}
{"id": "ann"}
not json
{"id": null}
"""


def rows_of(path: Path, learner: str = "ann") -> dict[str, int]:
    found = find_rows({"events": [str(path)]}, learner, "id", span="newest")
    return {item.path.name: item.rows for item in found}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("ending", "content", "kept"),
    [
        (".csv", CSV, 'id,note\r\nben,"ann ""quoted"""\r\n\r\nanna,ann\r\n'),
        (".csv", f"\ufeff{CSV}", '\ufeffid,note\r\nben,"ann ""quoted"""\r\n\r\nanna,ann\r\n'),
        (".jsonl", JSON_LINES, '\n{"n":2,  "id":"ben"}\nnot json\n{"id": null}\n'),
    ],
)
def test_the_bytes_of_others_stay(
    tmp_path: Path, ending: str, content: str, kept: str, compressed: bool
) -> None:
    path = tmp_path / f"events{ending}{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(content.encode()) if compressed else content.encode())
    [found] = find_rows({"events": [str(path)]}, "ann", "id", span="newest")
    assert found.rows == 2

    remove_rows(found, "ann", "id")
    left = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    assert left.decode() == kept
    assert rows_of(path) == {}
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_parquet_with_ids_that_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    rows = pl.DataFrame({"id": [1, 11, None, 1], "n": [1, 2, 3, 4]})
    rows.write_parquet(path)
    [found] = find_rows({"events": [str(path)]}, "1", "id", span="newest")
    assert found.rows == 2
    remove_rows(found, "1", "id")
    assert pl.read_parquet(path).equals(rows[1:3])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"id,n\nann,\xff\n")
    with pytest.raises(MasteryError, match=r"events\.csv: could not be read .*check-log"):
        rows_of(path)
