"""The spool: what a server appends stays, whoever holds up or takes away its files."""

from __future__ import annotations

import errno
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.prediction_log import spool as spool_module
from serving.prediction_log.frames import MAGIC, read_segment
from serving.prediction_log.spool import Spool, complete, only_mover, segments
from tests.serving.prediction_log.frames_of import frame_of

ROOT = Path(__file__).parents[3]


def append(spool: Spool, *numbers: float) -> bool:
    layout, frame = frame_of(numbers)
    return spool.append(layout, frame, len(numbers))


def scores(folder: Path) -> list[float]:
    return [row.answer["score"] for path in segments(folder) for row in read_segment(path).rows]


def test_a_file_is_complete_once_its_server_goes_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.open()
    assert append(spool, 1.0, 2.0)
    (first,) = segments(tmp_path / "spool")
    with complete(first) as is_complete:
        assert not is_complete
    spool.renew(seconds=3600)
    assert segments(tmp_path / "spool") == [first]

    spool.renew(seconds=0)
    assert append(spool, 3.0)
    with complete(first) as is_complete:
        assert is_complete
    spool.close()
    assert scores(tmp_path / "spool") == [1.0, 2.0, 3.0]
    assert not append(spool, 4.0)
    tally = spool.tally
    assert (tally.logged, tally.synced, tally.lost) == (3, 3, 1)


def test_an_empty_file_is_not_renewed_and_a_large_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.open()
    spool.renew(seconds=0)
    assert len(segments(tmp_path)) == 1
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 100)
    append(spool, 1.0)
    spool.renew(seconds=3600)
    assert len(segments(tmp_path)) == 2
    spool.measure()
    sizes = sorted(path.stat().st_size for path in segments(tmp_path))
    assert sizes[0] == len(MAGIC)
    assert spool.waiting == sizes[1]
    spool.close()


def test_only_owner_and_group_can_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log" / "spool")
    spool.open()
    with only_mover(tmp_path / "log" / "spool", wait=False):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    spool.close()
    (segment,) = segments(tmp_path / "log" / "spool")
    assert modes == {"log": 0o750, "spool": 0o750, segment.name: 0o640, "lock": 0o640}


def test_a_file_that_somebody_removed_is_replaced(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.open()
    append(spool, 1.0)
    segments(tmp_path / "spool")[0].unlink()
    (tmp_path / "spool").rmdir()
    spool.renew(seconds=3600)
    assert append(spool, 2.0)
    assert scores(tmp_path / "spool") == [2.0]
    spool.close()


def test_rows_beyond_the_limit_are_lost_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool_module, "PAUSE_SECONDS", 0.0)
    caplog.set_level(logging.INFO, logger="mastery.serving")
    spool = Spool(tmp_path, max_bytes=1000)
    spool.open()
    taken = [append(spool, float(number)) for number in range(20)]
    assert taken[0]
    assert not taken[-1]
    assert len(scores(tmp_path)) == sum(taken) == spool.tally.logged
    assert spool.tally.lost == 20 - sum(taken)

    (first,) = segments(tmp_path)
    spool.renew(seconds=0)
    spool.measure()
    assert not append(spool, 99.0)
    first.unlink()
    spool.measure()
    assert append(spool, 100.0)
    assert scores(tmp_path) == [100.0]
    spool.close()
    lost, back = [record.getMessage() for record in caplog.records]
    assert "loses rows (more than 1000 bytes wait" in lost
    assert back == f"The prediction log takes rows again; {spool.tally.lost} were lost."


FULL = """
import resource, signal, sys
from pathlib import Path
from serving.prediction_log import spool as module
from serving.prediction_log.spool import Spool
from tests.serving.prediction_log.frames_of import frame_of

module.PAUSE_SECONDS = 0.0
spool = Spool(Path(sys.argv[1]))
spool.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
taken = []
for number in range(30):
    layout, frame = frame_of([float(number)])
    if number == 20:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    taken.append(spool.append(layout, frame, 1))
print(*map(int, taken), spool.tally.lost)
"""


def test_a_full_disk_costs_whole_rows_and_nothing_else(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *taken, lost = map(int, ran.stdout.split())
    assert 0 < sum(taken[:20]) < 20
    assert all(taken[20:])
    assert lost == 30 - sum(taken)
    (path,) = segments(tmp_path)
    content = read_segment(path)
    assert content.damaged == 0
    assert [row.answer["score"] for row in content.rows] == [
        number for number, is_taken in enumerate(taken) if is_taken
    ]


def test_a_part_of_a_frame_that_stays_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "PAUSE_SECONDS", 0.0)
    spool = Spool(tmp_path)
    spool.open()
    assert append(spool, 1.0)
    written = os.write

    def write_part(descriptor: int, data: bytes) -> int:
        return written(descriptor, data[:20])

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_part)
        patched.setattr(os, "ftruncate", fail)
        assert not append(spool, 2.0)
    assert not append(spool, 3.0)  # it could not be read after the part
    spool.renew(seconds=3600)
    assert append(spool, 4.0)
    spool.close()
    assert sorted(scores(tmp_path)) == [1.0, 4.0]
    assert spool.tally.lost == 2


def test_a_slow_disk_holds_up_few_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool_module, "SLOW_SECONDS", -1.0)
    spool = Spool(tmp_path)
    spool.open()
    assert [append(spool, float(number)) for number in range(3)] == [True, False, False]
    spool.close()
    assert len(caplog.records) == 1
    assert "writing took" in caplog.text


def test_many_threads_append_whole_frames(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.open()
    stop = threading.Event()

    def renew() -> None:
        while not stop.is_set():
            spool.renew(seconds=0)
            spool.sync()
            time.sleep(0.001)

    def work(number: int) -> None:
        for at in range(100):
            assert append(spool, float(1000 * number + at))

    renewing = threading.Thread(target=renew)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in (renewing, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    renewing.join()
    spool.close()
    expected = sorted(1000 * number + at for number in range(4) for at in range(100))
    assert sorted(scores(tmp_path)) == expected
    assert spool.tally.synced == spool.tally.logged == 400


LOCKED = """
import sys, time
from pathlib import Path
from serving.prediction_log.spool import Spool
from tests.serving.prediction_log.frames_of import frame_of

spool = Spool(Path(sys.argv[1]))
spool.open()
layout, frame = frame_of([1.0])
spool.append(layout, frame, 1)
print("ready", flush=True)
time.sleep(60)
"""


def test_the_file_of_a_killed_process_is_complete(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOCKED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (path,) = segments(tmp_path)
        with complete(path) as is_complete:
            assert not is_complete
        process.send_signal(signal.SIGKILL)
    with complete(path) as is_complete:
        assert is_complete
    assert scores(tmp_path) == [1.0]


def test_one_mover_at_a_time(tmp_path: Path) -> None:
    with only_mover(tmp_path, wait=True) as first, only_mover(tmp_path, wait=False) as second:
        assert (first, second) == (True, False)
    with only_mover(tmp_path, wait=False) as third:
        assert third


def test_a_file_that_was_moved_meanwhile_is_not_complete(tmp_path: Path) -> None:
    with complete(tmp_path / "gone.spool") as is_complete:
        assert not is_complete
