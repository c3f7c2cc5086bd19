"""Starts the process that replays requests long before ServingCheck runs, which needs it late.

A run calls `start_standby` and hands `Standby.environment` to its nodes. The process imports
TensorFlow while other nodes work, then waits. ServingCheck asks it by a Unix socket, once. Without
it, or if it has died, ServingCheck starts such a process itself:

    with start_standby(scratch) as standby:
        run_nodes(environment={**os.environ, **standby.environment})

The Evaluator calls `prepare_model`, so that the model is loaded before ServingCheck runs, too.

This module imports no library beyond Python's own: it is for processes that have to be quick.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import components
from components.gpu import VISIBLE, show_gpus
from components.serving_check import answering

STANDBY_SOCKET = "MASTERY_STANDBY"  # environment variable: where a waiting process listens
PROCESS = "components.serving_check.standby"
_HELLO = b"\n"  # what a standby sends to a client that connects
_LONGEST_ADDRESS = 103  # bytes of a socket's path that every system allows
_LAST_LINES = 5  # of a process's output that are shown if it fails
_PATIENCE = 10.0  # seconds for a process that listens to say so, on a machine that is busy
_LOOK = 0.5  # seconds between two checks that the process that started this one lives


class Standby:
    """A process that waits for one request, and ends with the process that started it.

    Attributes:
        environment: what a node needs in its environment to find it; empty if there is none.
        pid: the number of the process, None if there is none.
    """

    def __init__(
        self, process: subprocess.Popen[bytes] | None = None, address: Path | None = None
    ) -> None:
        self._process = process
        self._address = address
        self.environment = {STANDBY_SOCKET: str(address)} if address else {}
        self.pid = process.pid if process else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the process, whatever it is doing, and removes its socket; may be called again."""
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._address:
            shutil.rmtree(self._address.parent, ignore_errors=True)


def start_standby(folder: Path) -> Standby:
    """Starts a process that is ready for ServingCheck a few seconds from now.

    It returns at once, and nothing has to wait for the process.

    Args:
        folder: the run's scratch folder, in which a folder for the socket is made.

    Returns:
        The process; none is started if the path of its socket would be longer than systems allow.
    """
    place = Path(tempfile.mkdtemp(prefix="standby-", dir=folder)).resolve()  # for this user alone
    address = place / "socket"
    if len(os.fsencode(address)) > _LONGEST_ADDRESS:
        place.rmdir()
        return Standby()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        address.chmod(0o600)
        listener.listen(1)
        command = [sys.executable, "-m", PROCESS, str(os.getpid())]
        process = subprocess.Popen(
            command, stdin=listener.fileno(), stdout=subprocess.DEVNULL, env=_environment()
        )
    return Standby(process, address)


def prepare_model(model: Path) -> None:
    """Has the standby of this run load a model, without waiting for it; does nothing without one.

    A model that cannot be loaded is ServingCheck's to report.
    """
    connection = _connect(os.environ.get(STANDBY_SOCKET))
    if connection:
        with connection, suppress(OSError):
            connection.sendall(_as_line([str(model.absolute())]))


@dataclass(frozen=True)
class Ending:
    """How a process that answered requests ended.

    Attributes:
        code: its exit code; below 0 the number of the signal that ended it.
        lines: the last lines of its standard error.
    """

    code: int
    lines: list[str]


class FreshProcess:
    """A process that answers requests from one model, and then ends.

    Args:
        gpus: whether it sees the GPUs of the machine.
    """

    def __init__(self, *, gpus: bool = False) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            [sys.executable, "-m", answering.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env=_environment(gpus=gpus),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, paths: list[str]) -> None:
        """Sends a model to get ready, or a request: the paths of model, requests and answers."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has ended; its exit code says more
            self._process.stdin.write(_as_line(paths))
            self._process.stdin.flush()

    def answer(self, model: Path, requests: Path, answers: Path) -> Ending:
        """Answers the requests of a file into another; see `AnsweringProcess.answer`."""
        self.send([str(path.absolute()) for path in (model, requests, answers)])
        return self.wait()

    def has_ended(self) -> bool:
        """Returns whether the process has ended, and takes no more requests."""
        return self._process.poll() is not None

    def fileno(self) -> int:
        """Returns a descriptor that can be read when the process has ended."""
        assert self._process.stdout
        return self._process.stdout.fileno()

    def wait(self) -> Ending:
        """Waits until the process has ended."""
        code = self._process.wait()
        self._output.seek(0)
        text = self._output.read().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return Ending(code, lines[-_LAST_LINES:])

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._output):
            if file:
                with suppress(BrokenPipeError):
                    file.close()


Source = socket.socket | FreshProcess  # what `select` can wait for


class AnsweringProcess:
    """The standby of this run if there is one, else a fresh process that starts now."""

    def __init__(self) -> None:
        self._connection = _connect(os.environ.get(STANDBY_SOCKET))
        self._own = None if self._connection else FreshProcess()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()
        if self._own:
            self._own.close()

    def prepare(self, model: Path) -> None:
        """Has a model loaded, without waiting for it; one that cannot be loaded fails later."""
        paths = [str(model.absolute())]
        if self._connection:
            with suppress(OSError):
                self._connection.sendall(_as_line(paths))
        if self._own:
            self._own.send(paths)

    def answer(self, model: Path, requests: Path, answers: Path) -> Ending:
        """Has the requests of a file answered into another, and waits for that.

        Args:
            model: a SavedModel.
            requests: a TFRecord of `PredictionLog`.
            answers: the file to write.
        """
        if self._connection:
            paths = [str(path.absolute()) for path in (model, requests, answers)]
            ending = _ask(self._connection, paths)
            if ending:
                return ending
        self._own = self._own or FreshProcess()
        return self._own.answer(model, requests, answers)


def _connect(address: str | None) -> socket.socket | None:
    """Returns a connection to a standby that has said that it is there, None if none has."""
    if not address:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(address)
        if connection.recv(1):
            connection.settimeout(None)
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _ask(connection: socket.socket, paths: list[str]) -> Ending | None:
    """Returns how a standby's process ended, None if it has gone without saying so."""
    try:
        connection.sendall(_as_line(paths))
        with connection.makefile("rb") as file:
            reply = file.readline()
    except OSError:
        return None
    return Ending(**json.loads(reply)) if reply.endswith(b"\n") else None


def _as_line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def stand_by(listener: socket.socket, parent: int) -> None:
    """Passes on models and the request to a fresh process, and its ending back; then ends.

    Ends without an answer if that process has ended before the request, or if the client or the
    process that started this one has gone.

    Args:
        listener: where connections come in.
        parent: the process that started this one.
    """
    with FreshProcess() as process, listener:
        while _wait_for_one(process, listener, parent=parent) is listener:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(_HELLO)
                if _serve(connection, process, parent):
                    return


def _serve(connection: socket.socket, process: FreshProcess, parent: int) -> bool:
    """Passes on the lines of a connection; returns whether the request was among them."""
    with connection.makefile("rb") as lines:
        for line in lines:
            if process.has_ended():
                return True
            paths = json.loads(line)
            process.send(paths)
            if len(paths) > answering.READY:
                # The client sends no more: its connection can be read when it is closed.
                if _wait_for_one(process, connection, parent=parent) is process:
                    connection.sendall(_as_line(asdict(process.wait())))
                return True
    return False


def _wait_for_one(*sources: Source, parent: int) -> Source | None:
    """Returns the first source that can be read, None if `parent` has ended."""
    while os.getppid() == parent:
        ready, _, _ = select.select(sources, [], [], _LOOK)
        if ready:
            return next(source for source in sources if source in ready)
    return None


def _environment(*, gpus: bool = False) -> dict[str, str]:
    """Returns this process's environment, extended to find our packages, with or without GPUs."""
    root = Path(components.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}
    if not gpus:
        return {**environment, VISIBLE: "-1"}

    show_gpus(environment)
    environment.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # others may use the GPU, too
    return environment


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends quietly when Ctrl-C ends the run
    with suppress(BrokenPipeError, ConnectionResetError):  # the client has gone
        stand_by(socket.socket(fileno=sys.stdin.fileno()), int(sys.argv[1]))
