"""A process that waits for ServingCheck: it answers once, and never outlives who started it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tensorflow as tf

from components.serving_check import standby as standby_module
from components.serving_check.check import check_serving
from components.serving_check.replay import ServingError
from components.serving_check.standby import (
    STANDBY_SOCKET,
    AnsweringProcess,
    Standby,
    prepare_model,
    start_standby,
)

SaveModel = Callable[..., Path]


@pytest.fixture
def standby(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standby]:
    """A standby that this process finds by its environment."""
    with start_standby(short_path) as standby:
        for name, value in standby.environment.items():
            monkeypatch.setenv(name, value)
        yield standby


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The processes of its own that ServingCheck starts."""
    started: list[object] = []

    class Noted(standby_module.FreshProcess):
        def __init__(self) -> None:
            started.append(self)
            super().__init__()

    monkeypatch.setattr(standby_module, "FreshProcess", Noted)
    return started


def test_a_standby_answers_once_and_ends(
    standby: Standby,
    started: list[object],
    model: Path,
    predictions: pl.DataFrame,
    examples: list[bytes],
) -> None:
    for others in ([], [1]):
        with AnsweringProcess() as process:
            assert len(check_serving(model, predictions, examples, 4, process)) == 4

        assert len(started) == len(others)
        assert _wait_for_end(standby.pid)


@pytest.mark.usefixtures("standby")
def test_a_model_that_fails_has_the_same_error_in_a_standby(
    started: list[object],
    save_model: SaveModel,
    predictions: pl.DataFrame,
    examples: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flawed = save_model("needs the label")

    errors = []
    for _ in range(2):
        with AnsweringProcess() as process, pytest.raises(ServingError) as error:
            check_serving(flawed, predictions, examples, 0, process)
        errors.append(str(error.value).splitlines())
        monkeypatch.delenv(STANDBY_SOCKET, raising=False)

    assert len(started) == 1  # the second time
    assert errors[0][0] == errors[1][0]
    assert errors[0][-1] == errors[1][-1]


@pytest.mark.usefixtures("standby")
@pytest.mark.parametrize("flaw", [None, "needs the label", "forgets its weights"])
def test_a_prepared_model_answers_or_fails_as_any_other(
    started: list[object],
    save_model: SaveModel,
    predictions: pl.DataFrame,
    examples: list[bytes],
    flaw: str | None,
) -> None:
    model = save_model(flaw)
    outcome = pytest.raises(ServingError, match="in a fresh process") if flaw else nullcontext()

    prepare_model(model)
    with AnsweringProcess() as process, outcome:
        process.prepare(model)
        check_serving(model, predictions, examples, 0, process)

    assert started == []


def test_a_model_that_could_write_files_is_not_loaded(tmp_path: Path) -> None:
    writer = tf.Module()
    writer.serve = tf.function(
        lambda x: [tf.io.write_file(str(tmp_path / "written"), "x"), {"y": tf.identity(x)}][1],
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(writer, str(tmp_path / "model"), {"serving_default": writer.serve})

    with AnsweringProcess() as process:
        process.prepare(tmp_path / "model")
        ending = process.answer(tmp_path / "model", tmp_path / "requests", tmp_path / "answers")

    assert ending.code == 1
    assert "expected a graph that only computes, found: operation WriteFile" in ending.lines[-1]
    assert not (tmp_path / "written").exists()


def test_a_standby_that_has_died_is_replaced(
    standby: Standby,
    started: list[object],
    model: Path,
    predictions: pl.DataFrame,
    examples: list[bytes],
) -> None:
    with AnsweringProcess() as process:
        assert started == []
        [answering] = _children(standby.pid)
        os.kill(answering, signal.SIGKILL)
        check_serving(model, predictions, examples, 0, process)

    assert len(started) == 1


@pytest.mark.parametrize("address", ["/nowhere/socket", ""])
def test_without_a_standby_a_process_starts_at_once(
    started: list[object], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(STANDBY_SOCKET, address)

    with AnsweringProcess():
        assert len(started) == 1


def test_without_a_standby_nothing_is_prepared(
    monkeypatch: pytest.MonkeyPatch, started: list[object], model: Path
) -> None:
    monkeypatch.delenv(STANDBY_SOCKET, raising=False)

    prepare_model(model)

    assert started == []


def test_only_this_user_can_ask(standby: Standby) -> None:
    address = Path(standby.environment[STANDBY_SOCKET])

    assert stat.S_IMODE(address.stat().st_mode) == 0o600
    assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700


def test_a_standby_that_is_stopped_leaves_nothing_behind(short_path: Path) -> None:
    standby = start_standby(short_path)
    with standby:
        children = _until(lambda: _children(standby.pid))

    assert _wait_for_end(*children)
    assert list(short_path.iterdir()) == []


def test_a_standby_ends_with_the_process_that_started_it(short_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; "
        "from components.serving_check.standby import start_standby; "
        "print(start_standby(Path(sys.argv[1])).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(short_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        children = _until(lambda: _children(pid))
        parent.kill()

    assert _wait_for_end(pid, *children)


def test_a_path_that_is_too_long_for_a_socket_has_no_standby(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()

    with start_standby(folder) as standby:
        assert standby.environment == {}
    assert list(folder.iterdir()) == []


def test_starting_a_standby_imports_no_library() -> None:
    code = (
        "import sys; before = {*sys.modules}; import components.serving_check.standby; "
        "print(*{name.partition('.')[0] for name in {*sys.modules} - before} "
        "- {*sys.stdlib_module_names})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["components"]


def _children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [line.split() for line in found.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _is_alive(pid: int) -> bool:
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()[:1] not in ("", "Z")


def _wait_for_end(*pids: int) -> bool:
    return _until(lambda: not any(_is_alive(pid) for pid in pids))


def _until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
