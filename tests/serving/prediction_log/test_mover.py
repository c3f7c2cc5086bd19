"""Rows move from the spool to the log: each once, in days, whatever is killed or away."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from serving.prediction_log import mover as mover_module
from serving.prediction_log.frames import Row, read_segment
from serving.prediction_log.log_store import Query, StoreAwayError, open_store
from serving.prediction_log.mover import Mover
from serving.prediction_log.parquet_log import ParquetLog
from serving.prediction_log.spool import Spool, only_mover, segments
from tests.serving.prediction_log.frames_of import NOON, frame_of, write_segment

ROOT = Path(__file__).parents[3]
MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC)


class Clock:
    """A clock that tests set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def scores(target: str) -> list[float]:
    with closing(open_store(target)) as store:
        return sorted(row.answer["score"] for row in store.read(Query()))


def mover_of(target: str, spool: Path, clock: Clock | None = None, days: int = 365) -> Mover:
    return Mover(spool, lambda: open_store(target), days, clock or Clock())


def test_complete_files_are_moved_and_the_one_in_use_is_not(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    write_segment(folder / "left.spool", frame_of([1.0, 2.0], label="canary"))
    spool = Spool(folder)
    spool.open()
    layout, frame = frame_of([3.0])
    spool.append(layout, frame, 1)

    with closing(mover_of(target, folder)) as mover:
        mover.step()
        assert scores(target) == [1.0, 2.0]
        assert len(segments(folder)) == 1
        spool.close()
        mover.step()
    assert scores(target) == [1.0, 2.0, 3.0]
    assert segments(folder) == []


def test_rows_around_midnight_are_in_two_days(tmp_path: Path) -> None:
    second = timedelta(seconds=1)
    write_segment(
        tmp_path / ".spool" / "a.spool",
        frame_of([1.0], at=MIDNIGHT - second),
        frame_of([2.0], at=MIDNIGHT),
    )
    mover_of(str(tmp_path), tmp_path / ".spool").step()
    assert {path.parent.name for path in tmp_path.glob("*/*.parquet")} == {
        "date=2026-11-27",
        "date=2026-11-28",
    }
    assert scores(str(tmp_path)) == [1.0, 2.0]


def test_old_rows_are_purged_at_the_start_and_when_the_day_changes(
    target: str, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    for number in range(4):  # of 24, 25, 26 and 27 November
        at = NOON - timedelta(days=3 - number)
        write_segment(folder / f"{number}.spool", frame_of([float(number)], at=at))
    clock = Clock()
    with closing(mover_of(target, folder, clock)) as mover:
        mover.step()
    assert scores(target) == [0.0, 1.0, 2.0, 3.0]

    with closing(mover_of(target, folder, clock, days=2)) as mover:
        mover.step()
        assert scores(target) == [1.0, 2.0, 3.0]
        clock.now = MIDNIGHT - timedelta(seconds=1)
        mover.step()
        assert scores(target) == [1.0, 2.0, 3.0]
        clock.now = MIDNIGHT
        mover.step()
        assert scores(target) == [2.0, 3.0]


class Killed(BaseException):
    """The process ends here."""


def test_killed_between_adding_and_removing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spool"
    write_segment(folder / "a.spool", frame_of([1.0, 2.0]), frame_of([3.0], at=MIDNIGHT))

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, closing(mover_of(target, folder)) as mover:
        patched.setattr(Path, "unlink", kill)
        with pytest.raises(Killed):
            mover.step()
    assert scores(target) == [1.0, 2.0, 3.0]
    assert len(segments(folder)) == 1

    with closing(mover_of(target, folder)) as mover:
        mover.step()
    assert scores(target) == [1.0, 2.0, 3.0]
    assert segments(folder) == []


def test_killed_while_a_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".spool"
    write_segment(folder / "a.spool", frame_of([1.0]), frame_of([2.0], at=MIDNIGHT))
    replaced = Path.replace
    written = []

    def kill_second(self: Path, to: Path) -> Path:
        written.append(to)
        if len(written) == 2:
            raise Killed
        return replaced(self, to)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", kill_second)
        with pytest.raises(Killed):
            mover_of(str(tmp_path), folder).step()
    assert len(list(folder.glob("*.tmp"))) == 1
    assert scores(str(tmp_path)) == [1.0, 2.0]

    mover_of(str(tmp_path), folder).step()
    assert scores(str(tmp_path)) == [1.0, 2.0]
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_several_movers_of_several_servers(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spools = [Spool(folder) for _ in range(2)]
    for spool in spools:
        spool.open()
    with closing(mover_of(target, folder)) as first:
        first.step()  # makes the tables
    stop = threading.Event()

    def move() -> None:
        with closing(mover_of(target, folder)) as mover:
            while not stop.is_set():
                mover.step()
            mover.step(is_last=True)

    movers = [threading.Thread(target=move) for _ in range(2)]
    for thread in movers:
        thread.start()
    for number in range(30):
        for offset, spool in enumerate(spools):
            layout, frame = frame_of([float(2 * number + offset)])
            assert spool.append(layout, frame, 1)
            spool.renew(seconds=0)
    for spool in spools:
        spool.close()
    stop.set()
    for thread in movers:
        thread.join()
    assert scores(target) == [float(number) for number in range(60)]


def test_the_end_of_a_file_that_a_crash_cut_off_is_reported(
    target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_segment(tmp_path / "spool" / "a.spool", frame_of([1.0]), tail=b"\x07\x00\x00\x00ab")
    with closing(mover_of(target, tmp_path / "spool")) as mover:
        mover.step()
    assert scores(target) == [1.0]
    assert "a.spool: 6 bytes could not be read" in caplog.text
    assert segments(tmp_path / "spool") == []


class Away(ParquetLog):
    """A log that can be reached only sometimes."""

    is_away = True
    attempts = 0

    def add(self, segment: str, rows: Iterable[Row]) -> None:
        self.attempts += 1
        if self.is_away:
            raise StoreAwayError("db: connection refused")
        super().add(segment, rows)


def test_rows_wait_while_the_log_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mastery.serving")
    monkeypatch.setattr(mover_module, "RETRY_SECONDS", (0.0,))
    path = write_segment(tmp_path / ".spool" / "a.spool", frame_of([1.0]))
    store = Away(tmp_path)
    mover = Mover(tmp_path / ".spool", lambda: store, 365, Clock())
    for _ in range(3):
        mover.step()
    assert path.exists()
    store.is_away = False
    mover.step()
    assert not path.exists()
    assert [record.getMessage() for record in caplog.records] == [
        f"db: connection refused. Rows of the prediction log wait in {tmp_path / '.spool'}.",
        "The prediction log can be written again.",
    ]


FULL = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from serving.prediction_log.log_store import open_store
from serving.prediction_log.mover import Mover

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
folder = Path(sys.argv[1])
Mover(folder / ".spool", lambda: open_store(str(folder)), 10_000).step()
"""


def test_rows_wait_while_the_disk_is_full(tmp_path: Path) -> None:
    path = write_segment(tmp_path / ".spool" / "a.spool", frame_of([1.0]))

    def move(limit: int) -> str:
        command = [sys.executable, "-c", FULL, str(tmp_path), str(limit)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return ran.stderr

    assert f"Rows of the prediction log wait in {tmp_path / '.spool'}." in move(1000)
    assert path.exists()
    assert list(tmp_path.rglob("*.parquet")) == []
    assert scores(str(tmp_path)) == [1.0]
    assert move(10**6) == ""
    assert not path.exists()
    assert scores(str(tmp_path)) == [1.0]


def test_a_failure_is_not_tried_again_at_once(tmp_path: Path) -> None:
    write_segment(tmp_path / ".spool" / "a.spool", frame_of([1.0]))
    store = Away(tmp_path)
    mover = Mover(tmp_path / ".spool", lambda: store, 365, Clock())
    mover.step()
    mover.step()
    assert store.attempts == 1
    mover.step(is_last=True)
    assert store.attempts == 2


def test_a_database_that_vanishes_and_comes_back(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover_module, "RETRY_SECONDS", (0.0,))
    name = database.rpartition("/")[2]
    admin = create_engine(
        database.replace("postgresql:", "postgresql+psycopg:").replace(name, "postgres"),
        isolation_level="AUTOCOMMIT",
    )

    def allow(answer: bool) -> None:
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {answer}"))
            connection.execute(
                text(
                    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='{name}'"
                )
            )

    write_segment(tmp_path / "a.spool", frame_of([1.0]))
    with closing(mover_of(database, tmp_path)) as mover:
        mover.step()
        allow(False)
        write_segment(tmp_path / "b.spool", frame_of([2.0]))
        mover.step()
        assert len(segments(tmp_path)) == 1
        allow(True)
        mover.step()
    assert segments(tmp_path) == []
    assert scores(database) == [1.0, 2.0]
    admin.dispose()


def test_a_file_that_cannot_be_moved_holds_up_no_other(
    target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> Any:
        if path.name == "a.spool":
            raise ValueError("written by a later version")
        return read_segment(path)

    monkeypatch.setattr(mover_module, "read_segment", read)
    write_segment(tmp_path / "spool" / "a.spool", frame_of([1.0]))
    write_segment(tmp_path / "spool" / "b.spool", frame_of([2.0]))
    with closing(mover_of(target, tmp_path / "spool")) as mover:
        mover.step()
    assert scores(target) == [2.0]
    assert [path.name for path in (tmp_path / "spool").glob("*.bad")] == ["a.bad"]
    assert "its rows cannot be logged (ValueError: written by a later version)" in caplog.text


def test_another_mover_has_the_turn(tmp_path: Path) -> None:
    path = write_segment(tmp_path / ".spool" / "a.spool", frame_of([1.0]))
    with only_mover(tmp_path / ".spool", wait=True):
        mover_of(str(tmp_path), tmp_path / ".spool").step()
        assert path.exists()
    mover_of(str(tmp_path), tmp_path / ".spool").step()
    assert not path.exists()
    part = next(tmp_path.rglob("*.parquet"))
    assert stat.S_IMODE(part.stat().st_mode) == 0o640
