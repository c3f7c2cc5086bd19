"""One learner's records in files of platforms: found by the mapping, and removed, others kept."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config.data import Data
from components.errors import MasteryError
from components.event_log.readers import read_parquet
from components.event_log.sources import LogFile
from pipeline.learners import platform_files
from pipeline.learners.log_files import find_rows, remove_rows

ANN = {"actor": {"id": "ann"}, "n": 1}
BEN = {"actor": {"id": "ben"}, "n": "Grüße, ann"}
NOBODY: dict[str, Any] = {"n": 3}
MAPPING = {
    "mapping": {"learner_id": "actor.id", "unit_id": "unit", "time": "at", "event_type": "kind"},
    "leave_out": {"all": {"n": "."}},  # what is left out of training is the learner's, too
}

CALIPER = {"format": "caliper", "mapping": {"learner_id": "actor.id"}}


def rows_of(path: Path, learner: str = "ann", **settings: Any) -> list[int]:
    return [item.rows for item in found_in(path, learner, **settings)]


def found_in(path: Path, learner: str = "ann", **settings: Any) -> Any:
    data = Data(events=[str(path)], outcomes=["o.csv"], **(settings or MAPPING))
    return find_rows(
        {"events": [str(path)]}, learner, "id", span="newest", mapping=data.event_mapping
    )


def removed_from(path: Path, **settings: Any) -> None:
    for item in found_in(path, **settings):
        remove_rows(item, "ann", "id")


def line(record: object) -> str:
    return json.dumps(record, ensure_ascii=False)


@pytest.mark.parametrize("compressed", [False, True])
def test_json_lines(tmp_path: Path, compressed: bool) -> None:
    others = f'{line(BEN)}\n{{"n" : 3}}  \r\n'
    content = f"{line(ANN)}\n{others}{line(ANN)}"
    path = tmp_path / f"log.jsonl{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(content.encode()) if compressed else content.encode())
    assert rows_of(path) == [2]
    removed_from(path)
    left = path.read_bytes()
    assert (gzip.decompress(left) if compressed else left).decode() == others
    assert rows_of(path) == []


def test_csv_with_records_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    head, ben = "userid,note\r\n", '7,"Grüße,\r\n\r\n3,""ann"""\r\n'
    path.write_bytes(f'{head}3,"a\r\nb"\r\n{ben},nobody\r\n3,x\r\n'.encode())
    settings = {"mapping": {"learner_id": {"from": "userid", "values": {"3": "ann"}}}}
    assert rows_of(path, **settings) == [2]
    removed_from(path, **settings)
    assert path.read_bytes().decode() == f"{head}{ben},nobody\r\n"


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.event_log.readers.CHUNK_VALUES", 3)
    path = tmp_path / "log.parquet"
    rows = pl.DataFrame(
        {"who": [3, 33, None, 3, 4], "at": pl.Series([1, 2, 3, 4, 5]).cast(pl.Datetime)}
    )
    rows.write_parquet(path)
    settings = {"mapping": {"learner_id": {"template": "u{who}", "values": {"u3": "ann"}}}}
    assert rows_of(path, **settings) == [2]
    removed_from(path, **settings)
    assert pl.read_parquet(path).equals(rows[[1, 2, 4]])
    assert read_parquet(LogFile(str(path), "parquet", 0), ["who"]) is not None


def test_envelopes_on_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    settings = CALIPER
    one = {"actor": {"id": "ann"}, "n": 1.5}
    two = {"actor": {"id": "ben"}, "n": "ü"}
    only_two = line({"sensor": "s", "data": [two]})
    path.write_text(
        f'{line(two)}\n{line({"sensor": "s", "data": [one, two, one]})}\n\n{only_two}\n'
        f'{line({"data": [one]})}\n{line(one)}\n'
    )  # fmt: skip
    assert rows_of(path, **settings) == [4]
    removed_from(path, **settings)
    left = path.read_text().splitlines()
    assert left == [line(two), json.dumps({"sensor": "s", "data": [two]}), only_two]
    assert rows_of(path, **settings) == []
    assert rows_of(path, "ben", **settings) == [3]


@pytest.mark.parametrize("shape", ["array", "objects", "envelope", "array of envelopes"])
def test_documents(tmp_path: Path, shape: str) -> None:
    one, two = {"actor": {"id": "ann"}}, {"actor": {"id": "ben"}, "n": "ü"}
    text = {
        "array": json.dumps([one, two, one], indent=1),
        "objects": "\n".join(json.dumps(item, indent=1) for item in (one, two, one)),
        "envelope": json.dumps({"data": [one, two, one]}, indent=1),
        "array of envelopes": json.dumps([{"data": [one]}, {"data": [two, one]}]),
    }[shape]
    left = {
        "array": [two], "objects": two, "envelope": {"data": [two]},
        "array of envelopes": [{"data": [two]}],
    }[shape]  # fmt: skip
    path = tmp_path / "log.json"
    path.write_text(text)
    assert rows_of(path, **CALIPER) == [2]
    removed_from(path, **CALIPER)
    assert json.loads(path.read_text()) == left


def test_a_document_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_files, "LARGEST_DOCUMENT", 20)
    path = tmp_path / "log.json"
    path.write_text(before := json.dumps([ANN, BEN]))
    with pytest.raises(MasteryError, match="cannot be rewritten; nothing was changed"):
        removed_from(path)
    assert path.read_text() == before


def test_a_file_of_nobody_else_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "ann.csv"
    path.write_text("at\n1\n2\n")
    settings = {"mapping": {"learner_id": {"file": r"(\w+)\.csv$"}}}
    assert rows_of(path, **settings) == [2]
    removed_from(path, **settings)
    assert [*tmp_path.iterdir()] == []


def test_each_kind_of_moodles_tables(tmp_path: Path) -> None:
    log = {
        "eventname": "e",
        "component": "core",
        "userid": "3",
        "courseid": "2",
        "timecreated": "1",
    }
    attempt = {"quiz": "1", "userid": "3", "attempt": "1", "state": "finished", "timestart": "1",
               "timefinish": "2", "sumgrades": "1"}  # fmt: skip
    for name, row in (("log", log), ("attempts", attempt)):
        rows = [row, {**row, "userid": "4"}]
        pl.DataFrame(rows).write_csv(tmp_path / f"{name}.csv")
    for item in found_in(tmp_path, "3", format="moodle"):
        assert item.rows == 1
        remove_rows(item, "3", "id")
    assert rows_of(tmp_path, "3", format="moodle") == []
    assert rows_of(tmp_path, "4", format="moodle") == [1, 1]


def test_a_line_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f"{line(ANN)}\nnot json\n{line(NOBODY)}\n")
    with pytest.raises(MasteryError, match=r"line 2.*\n?.*nothing in the file was changed"):
        removed_from(path)
    assert path.read_text().startswith(line(ANN))
