"""CSV files: whole, damaged, and in other formats."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from components.event_log import chunks, csv_reader
from components.event_log.chunks import Chunk
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile

Read = Callable[..., tuple[pl.DataFrame, list[int], list[str]]]


def test_csv_as_text(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes('\ufeffa,b,c\n1,,"x, ""y"""\n007,"",é\n'.encode())
    frame, numbers, problems = read(path, "c", "a", "b")
    assert frame.rows() == [('x, "y"', "1", None), ("é", "007", "")]
    assert (numbers, problems) == ([2, 3], [])


def test_csv_with_ragged_rows(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,2\n3\n4,5\n6,7,8\n9,10\n\n")
    frame, numbers, problems = read(path, "a")
    assert frame["a"].to_list() == ["1", "4", "9"]
    assert numbers == [2, 4, 6]
    assert problems == [
        "log.csv, line 3: expected 2 fields as in the header, found 1: '3'; also in line 5"
    ]


def test_csv_in_chunks_with_ragged_rows_counts_lines(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 50)
    path = tmp_path / "log.csv"
    path.write_text(
        "a,b\n" + "".join("x\n" if row % 10 == 3 else f"{row},0\n" for row in range(100))
    )
    frame, numbers, (problem,) = read(path, "a")
    assert [int(value) + 2 for value in frame["a"]] == numbers
    assert "line 5: expected 2 fields" in problem
    assert problem.endswith("also in line 15, 25 and 7 more")


def test_csv_that_is_not_utf8(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("a,b\n1,ok\n2,Z\xfcrich\n".encode("latin-1"))
    _, _, problems = read(path, "b")
    [problem] = problems
    assert problem.startswith("log.csv, line 3: expected UTF-8 text, or another encoding by its")
    assert problem.endswith("(`encoding` of data.csv or data.outcomes_csv), found b'2,Z\\xfcrich'")


def test_csv_without_a_byte(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.touch()
    _, numbers, problems = read(path, "a")
    assert (numbers, problems) == ([], [])


def test_csv_cut_off_within_its_compression(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20])
    _, _, (problem,) = read(path, "a")
    assert problem.startswith(
        "log.csv.gz: could not be read (compressed data is damaged or cut off: "
    )


def test_csv_lines_are_an_editors_and_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.csv"
    path.write_text('\na,b\r\n1,"x\ny"\r\n\n  \n2,z\r\n,\n3,"z ""w"""\n')
    for size in (1 << 20, 7):
        monkeypatch.setattr(chunks, "BLOCK_BYTES", size)
        file = LogFile(str(path), "csv", 0)
        read = [chunk for chunk in read_chunks(file, ["b", "a"]) if isinstance(chunk, Chunk)]
        assert pl.concat(chunk.frame for chunk in read).rows() == [
            ("x\ny", "1"),
            ("z", "2"),
            ('z "w"', "3"),
        ]
        assert [number for chunk in read for number in chunk.numbers] == [3, 7, 9]
        lines = sum((chunk.lines for chunk in read), Counter())
        assert lines == {"header": 1, "rows": 3, "blank": 4, "within quotes": 1}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_of_any_system(
    read: Read, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 40)
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(end.join(["a,b", *(f"{row},x" for row in range(50))]).encode()))
    frame, numbers, problems = read(path, "a")
    assert frame["a"].cast(int).to_list() == list(range(50))
    assert (numbers, problems) == (list(range(2, 52)), [])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            'a,note\n1,"x \\""\n2,"y"\n',
            ", line 2: expected CSV as in RFC 4180",
        ),  # the next row would be swapped
        (
            'a,note\n1,x\n2,"y\n3,z\n',
            ", line 3: expected CSV as in RFC 4180",
        ),  # all after it would be gone
        ('a,note\n1,"5 inch\n2,x\n3,5"\n', ", line 2: expected CSV as in RFC 4180"),
        (
            "a,b\n1,2\na,b\n3,4\n",
            ", line 3: expected values in every row (were files joined end to end?)",
        ),
        (
            "a,b,a\n1,2,3\n",
            ", column a: expected one column of this name, found 2, in the places 1, 3",
        ),
        (
            "gr\xf6\xdfe,a\n1,2\n",
            ", line 1: expected UTF-8 text, or another encoding by its name (",
        ),
        ("\xff\xfea\0,\0b\0\n\0", ": expected CSV in UTF-8, found UTF-16 text; save it as UTF-8"),
        ("a\0,\0b\0\n\0", ": expected CSV in UTF-8, found UTF-16 text; save it as UTF-8"),
        (
            "sep=;\na;b",
            ": expected CSV in UTF-8, found the line in which Excel names the separator",
        ),
        ('PK\x03\x04"a', ": expected CSV in UTF-8, found a ZIP archive or an Excel workbook"),
        ('<html lang="en">', ": expected CSV in UTF-8, found a page of HTML or XML"),
        ("a,b\n1,2\n\0\0\0", ", line 3: expected 2 fields as in the header, found 1: "),
        ("x" * (1 << 20) + ",a\n1,2\n", ", line 1: expected CSV as in RFC 4180"),
        ("x" * (2 << 20), ", line 1: expected CSV as in RFC 4180"),
    ],
)
def test_text_that_is_not_csv(read: Read, content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content.encode("latin-1"))
    frame, _, (found,) = read(path, "a")
    assert found.startswith(f"log.csv{problem}")
    assert frame.height <= 1


def test_a_header_may_be_long(read: Read, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("x" * 500_000 + ",a," + "y" * 500_000 + "\n1,2,3\n")
    frame, numbers, problems = read(tmp_path / "log.csv", "a")
    assert (frame.rows(), numbers, problems) == ([("2",)], [2], [])


def test_a_file_named_gz_that_is_not_compressed(read: Read, tmp_path: Path) -> None:
    (tmp_path / "log.csv.gz").write_bytes(b"a,b\n1,2\n")
    _, _, (problem,) = read(tmp_path / "log.csv.gz", "a")
    assert problem.startswith("log.csv.gz: could not be read (named .gz, but not compressed")


def test_a_parser_that_finds_other_rows_is_not_trusted(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    parse = csv_reader._parse_columns
    monkeypatch.setattr(csv_reader, "_parse_columns", lambda *args: parse(*args)[:1])
    frame, _, (problem,) = read(path, "a")
    assert frame.is_empty()
    assert problem.endswith("found 2 rows by their line ends and 1 by the parser")
