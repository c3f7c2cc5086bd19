"""Files that are damaged, and files in other formats."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.event_log import chunks, readers
from components.event_log.chunks import Chunk
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile, format_of


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
        (
            lambda content: content[:4] + b"\0" * (len(content) - 8) + content[-4:],
            "one that cannot be read: ",
        ),
    ],
)
def test_half_written_parquet(spoil: Callable[[bytes], bytes], found: str, whole: Path) -> None:
    content = whole.read_bytes()
    whole.write_bytes(spoil(content))
    frame, _, (problem,) = read(whole, "a")
    assert frame.is_empty()
    assert problem.startswith(f"whole.parquet: expected a complete Parquet file, found {found}")


def test_parquet_in_chunks(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "CHUNK_ROWS", 300)
    frame, numbers, problems = read(whole, "b", "a", "missing")
    assert frame.columns == ["b", "a"]
    assert frame["a"].to_list() == list(range(1000))
    assert numbers == list(range(1, 1001))
    assert problems == []


@pytest.mark.parametrize("zone", ["+05:30", "+00:00", "Mars/Base", "Europe/Zurich", None])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_timestamps_of_any_zone_are_what_is_stored(
    zone: str | None, unit: str, tmp_path: Path
) -> None:
    pq.write_table(
        pa.table({"a": pa.array([1_709_544_600_000, None], pa.timestamp(unit, zone))}),
        tmp_path / "x.pq",
    )
    frame, _, problems = read(tmp_path / "x.pq", "a")
    assert problems == []
    assert frame["a"].dtype == pl.Datetime(unit, "UTC" if zone else None)
    assert frame["a"].to_physical().to_list() == [1_709_544_600_000, None]


def test_parquet_zones_within_a_list_are_refused(tmp_path: Path) -> None:
    times = pa.array([[1]], pa.list_(pa.timestamp("us", "+05:30")))
    pq.write_table(pa.table({"a": pa.array([2]), "b": times}), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet", "a")[0].rows() == [(2,)]
    _, _, [problem] = read(tmp_path / "x.parquet", "a", "b")
    assert problem.startswith(
        "x.parquet, column b: expected text, numbers, booleans or times, found list<"
    )


def test_parquet_decimals_that_are_too_long_are_named(tmp_path: Path) -> None:
    values = pa.array([Decimal(1), Decimal("9" * 60)], pa.decimal256(76, 0))
    pq.write_table(pa.table({"a": values[:1], "b": values[1:]}), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet", "a")[0]["a"].to_list() == [Decimal(1)]
    frame, _, problems = read(tmp_path / "x.parquet", "a", "b")
    assert frame.is_empty()
    assert problems == [
        "x.parquet, column b: expected decimals of at most 38 digits, found a longer one in decimal256(76, 0)"
    ]


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
    assert problems == [
        "log.csv, line 3: expected 2 fields as in the header, found 1: '3'; so too in line 5"
    ]


def test_csv_in_chunks_with_ragged_rows_counts_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 50)
    path = tmp_path / "log.csv"
    path.write_text(
        "a,b\n" + "".join("x\n" if row % 10 == 3 else f"{row},0\n" for row in range(100))
    )
    frame, numbers, (problem,) = read(path, "a")
    assert [int(value) + 2 for value in frame["a"]] == numbers
    assert "line 5: expected 2 fields" in problem
    assert problem.endswith("so too in line 15, 25 and 7 more")


def test_csv_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("a,b\n1,ok\n2,Z\xfcrich\n".encode("latin-1"))
    _, _, problems = read(path, "b")
    assert problems == ["log.csv, line 3: expected UTF-8 text, found b'2,Z\\xfcrich'"]


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
    path.write_text(
        '{"a": 1, "b": "x", "other": [1]}\n\n{"a": 1.5}\n{"b": true, "a": null}', encoding="utf-8"
    )
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
        "log.jsonl, line 2: expected a JSON object in UTF-8 on each line, found "
        "'{\"a\": 2' (Expecting ',' delimiter at character 8); so too in line 3, 4"
    )


def test_jsonl_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 64)
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
    assert problem.startswith(
        "log.jsonl.gz: expected readable JSON lines, found compressed data that is damaged"
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
def test_csv_of_any_system(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
            ", column a: expected one column of this name, found 2 of them, in the places 1, 3",
        ),
        ("gr\xf6\xdfe,a\n1,2\n", ", line 1: expected UTF-8 text, found b'gr\\xf6\\xdfe,a'"),
        ("\xff\xfea\0,\0b\0\n\0", ": expected CSV in UTF-8, found UTF-16 text; save it as UTF-8"),
        ("a\0,\0b\0\n\0", ": expected CSV in UTF-8, found UTF-16 text; save it as UTF-8"),
        ('PK\x03\x04"a', ": expected CSV in UTF-8, found a ZIP archive or an Excel workbook"),
        ('<html lang="en">', ": expected CSV in UTF-8, found a page of HTML or XML"),
        ("a,b\n1,2\n\0\0\0", ", line 3: expected 2 fields as in the header, found 1: "),
        ("x" * (1 << 20) + ",a\n1,2\n", ", line 1: expected CSV as in RFC 4180"),
        ("x" * (2 << 20), ", line 1: expected CSV as in RFC 4180"),
    ],
)
def test_csv_that_is_none(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content.encode("latin-1"))
    frame, _, (found,) = read(path, "a")
    assert found.startswith(f"log.csv{problem}")
    assert frame.height <= 1


def test_a_header_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("x" * 500_000 + ",a," + "y" * 500_000 + "\n1,2,3\n")
    frame, numbers, problems = read(tmp_path / "log.csv", "a")
    assert (frame.rows(), numbers, problems) == ([("2",)], [2], [])


def test_columns_that_nobody_wants_may_be_alike_and_in_any_encoding(tmp_path: Path) -> None:
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
        == "log.parquet, column n: expected one column of this name, found 2 of them, in the places 2, 3"
    )


def test_columns_of_the_path(tmp_path: Path) -> None:
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


BAD_JSON = [
    (
        '{"a": 1, "b": 2, "a": 3}',
        ", column a: expected each key once in an object, found 'a' 2 times, with '1, 3'",
    ),
    ('{"a": 1, "\\u0061": 3}', ", column a: expected each key once in an object"),
    ('{"a": null, "a": 3}', ", column a: expected each key once in an object"),
    (
        '{"a": {"name": "x"}}',
        ", column a: expected text, a number or a boolean (put a field of it into a column of",
    ),
    ('{"a": ["x"]}', ", column a: expected text, a number or a boolean"),
    ('{"a": "\\ud83d"}', ", column a: expected text in Unicode, found half a character in"),
    (
        '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}",
        ": expected a JSON object in UTF-8 on each line",
    ),
    ('{"a": 1', ": expected a JSON object in UTF-8 on each line"),
    (
        "[1]",
        ": expected a JSON object in UTF-8 on each line, found '[1]' (make lines of an array with jq",
    ),
]


@pytest.mark.parametrize("gap", ["", "\n"])
@pytest.mark.parametrize(("line", "problem"), BAD_JSON)
def test_a_bad_json_line_is_named_with_and_without_blank_lines(
    line: str, problem: str, gap: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"a": "[x", "n": {{"a": 1}}}}\n{gap}{line}\n{{"a": 5}}\n')
    frame, numbers, (found,) = read(path, "a")
    assert frame["a"].to_list() == ["[x", "5"]
    assert numbers == [1, 3 + len(gap)]
    assert found.startswith(f"log.jsonl, line {2 + len(gap)}{problem}")


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ('{\n  "a": 1\n}\n', "make one line of each object with jq -c ."),
        ('[\n{"a": 1},\n{"a": 2}\n]', "make lines of an array with jq -c '.[]'"),
        (
            "\ufeff".encode("utf-16-le").decode("latin-1") + "{\0",
            "found UTF-16 text; save it as UTF-8",
        ),
    ],
)
def test_json_that_is_not_one_object_a_line(content: str, advice: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content.encode("latin-1"))
    _, _, (problem,) = read(path, "a", "b")
    assert advice in problem


def test_numbers_of_json_keep_their_digits(tmp_path: Path) -> None:
    long = "1234567890" * 6
    for gap in ("", "\n"):
        path = tmp_path / "log.jsonl"
        path.write_text(
            f'{{"a": 12345678901234567890123}}\n{gap}{{"a": {long}}}\n{{"a": 1E400}}\n{{"a": 1.50}}\n'
        )
        assert read(path, "a")[0]["a"].to_list() == [
            "12345678901234567890123",
            long,
            "1E400",
            "1.5",
        ]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "other"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.lists(st.integers()),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_blank_line_changes_nothing(rows: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, gaps = Path(folder, "log.jsonl"), Path(folder, "gaps.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        gaps.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
        (whole, numbers, problems), (other, others, more) = (
            read(path, "a", "b"),
            read(gaps, "a", "b"),
        )
    assert whole.equals(other)
    assert others == [2 * number - 1 for number in numbers]
    assert len(problems) == len(more)


def test_a_file_of_nothing_has_no_rows(tmp_path: Path) -> None:
    for name, content in (("a.csv", b"\xef\xbb\xbf"), ("b.csv", b"\n\n"), ("c.jsonl", b"\n \n")):
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name, "a")[1:] == ([], [])
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b""))
    assert read(tmp_path / "d.csv.gz", "a")[1:] == ([], [])
