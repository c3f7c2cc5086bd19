"""Parquet files and both databases keep, find, purge and erase the same rows."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import event

from components.errors import MasteryError
from serving.answers.database import open_database
from serving.prediction_log.database_log import DatabaseLog
from serving.prediction_log.frames import Row, read_segment
from serving.prediction_log.log_store import (
    LogStore,
    Query,
    delete_by_hashes,
    kept_since,
    open_store,
)
from serving.prediction_log.settings import default_spool, is_database
from serving.prediction_log.spool import Spool, segments
from tests.serving.prediction_log.frames_of import NOON, frame_of, hash_of, row_of, write_segment

MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def store(target: str) -> Iterator[LogStore]:
    with closing(open_store(target)) as opened:
        yield opened


def found(store: LogStore, **query: object) -> list[float]:
    return sorted(row.answer["score"] for row in store.read(Query(**query)))


def test_rows_come_back_as_they_were(store: LogStore) -> None:
    rows = [row_of(0.1, label="stable"), row_of(0.2, version=2**40), row_of(0.3, minutes=1)]
    rows[2].answer["text"] = "größer 😀"
    store.add("a", rows)
    assert sorted(store.read(Query())) == sorted(rows)


def test_rows_that_are_added_again_are_there_once(store: LogStore) -> None:
    rows = [row_of(1.0), row_of(2.0, at=NOON + timedelta(days=1))]
    store.add("a", rows[:1])
    store.add("a", rows)
    store.add("a", rows)
    assert found(store) == [1.0, 2.0]


def test_an_empty_file_adds_nothing(store: LogStore) -> None:
    store.add("a", [])
    assert found(store) == []
    assert store.last(Query(), 5) == []


def test_queries(store: LogStore) -> None:
    rows = [
        row_of(1.0),
        row_of(2.0, minutes=60, label="canary"),
        row_of(3.0, at=MIDNIGHT, version=8),
        row_of(4.0, at=MIDNIGHT, minutes=60, label="canary"),
    ]
    store.add("a", rows)
    assert found(store, version=8) == [3.0]
    assert found(store, label="canary") == [2.0, 4.0]
    assert found(store, since=NOON + timedelta(minutes=60)) == [2.0, 3.0, 4.0]
    assert found(store, until=MIDNIGHT) == [1.0, 2.0]
    assert found(store, since=MIDNIGHT, until=MIDNIGHT + timedelta(minutes=60)) == [3.0]
    assert found(store, input_hash=hash_of(3.0).hex()[:12]) == [3.0]
    assert found(store, input_hash="%") == []
    assert [row.answer["score"] for row in store.last(Query(), 3)] == [2.0, 3.0, 4.0]
    assert [row.answer["score"] for row in store.last(Query(label="canary"), 1)] == [4.0]


def test_purging_removes_whole_days(store: LogStore) -> None:
    store.add("a", [row_of(1.0, at=MIDNIGHT, minutes=-0.01), row_of(2.0, at=MIDNIGHT)])
    store.add("b", [row_of(3.0, at=NOON - timedelta(days=30))])
    before = kept_since(MIDNIGHT + timedelta(days=3, hours=5), days=3)
    assert before == MIDNIGHT
    assert store.count_before(before) == 2
    assert store.purge(before) == 2
    assert store.purge(before) == 0
    assert found(store) == [2.0]


def test_rows_are_erased_from_the_log_and_from_a_spool_in_use(
    target: str, store: LogStore, tmp_path: Path
) -> None:
    spool_folder = tmp_path / "spool" if is_database(target) else default_spool(target)
    store.add("a", [row_of(1.0), row_of(2.0)])
    store.add("b", [row_of(2.0, id="other")])
    write_segment(spool_folder / "c.spool", frame_of([2.0, 3.0]))
    spool = Spool(spool_folder)
    spool.open()
    layout, frame = frame_of([2.0, 4.0])
    spool.append(layout, frame, 2)

    hashes = [hash_of(2.0).hex(), hash_of(9.0).hex()]
    assert delete_by_hashes(target, hashes, spool=spool_folder) == 4
    layout, frame = frame_of([5.0])
    assert spool.append(layout, frame, 1)
    spool.close()
    assert hash_of(2.0) not in b"".join(path.read_bytes() for path in segments(spool_folder))
    kept = [1.0] if is_database(target) else [1.0, 3.0, 4.0, 5.0]
    assert found(store) == kept
    assert delete_by_hashes(target, hashes, spool=spool_folder) == 0


def test_what_is_no_hash_is_refused(target: str) -> None:
    for text in ("ann", "abcd", ""):
        with pytest.raises(MasteryError, match="expected SHA-256 hashes"):
            delete_by_hashes(target, [text])


def test_queries_by_time_use_the_index(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        if "served_answers" in statement and not statement.startswith("EXPLAIN"):
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(" ".join(step[3] for step in plan.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    with closing(DatabaseLog(engine)) as store:
        store.last(Query(), 20)
        list(store.read(Query(since=NOON, until=MIDNIGHT)))
        store.count_before(MIDNIGHT)
        store.purge(MIDNIGHT)
    assert len(plans) == 4
    indexed = ("INDEX ix_served_answers_at", "INDEX ix_served_answers_shadow_at")
    assert all(any(index in plan for index in indexed) for plan in plans), plans
    assert "TEMP B-TREE FOR ORDER BY" not in plans[0]  # nor is more than a moment sorted


def test_other_tools_read_the_folder(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    store = open_store(str(tmp_path / "log"))
    store.add("a", [row_of(1.0), row_of(2.0, at=MIDNIGHT)])
    write_segment(tmp_path / "log" / ".spool" / "b.spool", frame_of([3.0]))
    table = pl.read_parquet(tmp_path / "log/**/*.parquet", hive_partitioning=True).sort("at")
    assert table["date"].to_list() == [NOON.date(), MIDNIGHT.date()]
    assert table.columns[: len(Row._fields)] == list(Row._fields)
    assert table["answer"].str.json_decode(pl.Struct({"score": pl.Float64}))[0] == {"score": 1.0}
    modes = {
        stat.S_IMODE(path.stat().st_mode): path.suffix
        for path in (tmp_path / "log").rglob("date=*/*")
    }
    assert modes == {0o640: ".parquet"}
    folders = {
        stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "log").rglob("*") if path.is_dir()
    }
    assert folders == {0o750}


def test_rows_of_the_spool_are_read_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    path = write_segment(tmp_path / ".spool" / "a.spool", frame_of([1.0, 2.0]), frame_of([3.0]))
    assert found(store) == [1.0, 2.0, 3.0]
    store.add("a", read_segment(path).rows)  # and the process is killed before it removes the file
    assert found(store) == [1.0, 2.0, 3.0]
    assert len(store.last(Query(), 10)) == 3
    path.unlink()
    assert found(store) == [1.0, 2.0, 3.0]


def test_answers_of_shadows_are_found_when_asked_for(store: LogStore) -> None:
    rows = [row_of(1.0), row_of(2.0, shadow=True), row_of(3.0, version=8, shadow=True)]
    store.add("a", rows)
    assert found(store) == [1.0]
    assert found(store, shadow=True) == [2.0, 3.0]
    assert found(store, shadow=None) == [1.0, 2.0, 3.0]
    assert [row.shadow for row in store.last(Query(shadow=None), 3)] == [False, True, True]
    assert store.erase({hash_of(2.0).hex()}) == 1
    assert found(store, shadow=True) == [3.0]


def test_files_from_before_there_were_shadows_are_read(tmp_path: Path) -> None:
    with closing(open_store(str(tmp_path))) as store:
        store.add("new", [row_of(1.0), row_of(2.0, shadow=True)])
        store.add("old", [row_of(3.0)])
        (part,) = tmp_path.glob("date=*/part-old.parquet")
        pl.read_parquet(part, hive_partitioning=False).drop("shadow").write_parquet(part)
        assert found(store) == [1.0, 3.0]
        assert found(store, shadow=True) == [2.0]
        assert len(store.last(Query(shadow=None), 9)) == 3
        assert store.erase({hash_of(3.0).hex()}) == 1
