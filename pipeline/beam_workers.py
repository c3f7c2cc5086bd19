"""The pool of SDK workers behind `mastery beam-workers`: our code, for TaskManagers of Flink.

Beam's own pool starts workers by the command `python`, whatever that is, and stops them by a number
that TaskManagers give out, each by itself, so that one stops another's. Here workers are
forked from a process that has imported what jobs need, in seconds less than a new interpreter
takes. They end with their TaskManager, and with the pool.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from components.config.beam import is_endpoint, split_endpoint
from components.errors import MasteryError
from components.node.this_machine import IS_LINUX
from pipeline.run.processes import end_with_parent

_NAME = re.compile(r"[\w.:/-]{1,200}", re.ASCII)  # such as 1-1
_FORKER = (sys.executable, "-P", "-m", "pipeline.beam_workers")
_LOOK = 2.0  # seconds between two looks whether the TaskManagers of workers live
_GRACE = 5.0  # seconds between asking workers to end and killing them
_GONE = 3  # looks in a row at which a TaskManager does not answer until its workers are ended
# As in nodes, and as everywhere where results must not depend on the machine.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "1"}


def serve_workers(host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C; then ends all workers.

    Args:
        host: the address to listen on.
        port: the port to listen on; 0: any free one.
        say: prints a line.

    Raises:
        MasteryError: the port is taken, or the system is not Linux.
    """
    if not IS_LINUX:
        raise MasteryError("beam-workers forks processes, which is safe on Linux only.")
    # What it says to developers; what went wrong is said below.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported here: it takes a second, and help texts do without.
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2_grpc

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())

    pool = _Pool(say)
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_servicer(pool), server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        raise MasteryError(
            f"cannot listen at {address}: the port is taken, or the address is not this "
            "machine's. Choose another --port or --host."
        ) from None

    pool.open()
    try:
        server.start()
        say(f"SDK workers for TaskManagers at {host}:{bound}; Ctrl-C ends")
        while not ended.wait(_LOOK):
            pool.look()
    finally:
        server.stop(0)
        pool.close()


@dataclass
class _Worker:
    """A worker's process.

    Attributes:
        name: what its TaskManager calls it.
        endpoint: host:port where its TaskManager waits for it.
        silent: looks in a row at which nothing listened there.
    """

    name: str
    endpoint: str
    silent: int = 0


@dataclass
class _Pool:
    """The workers, and the process that forks them."""

    say: Callable[[str], None]
    workers: dict[int, _Worker] = field(default_factory=dict)  # by process number
    lock: threading.Lock = field(default_factory=threading.Lock)
    forker: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Starts the process that forks workers, and waits until it has imported everything."""
        self.forker = subprocess.Popen(
            [*_FORKER, str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **_ENVIRONMENT}, start_new_session=True,
        )  # fmt: skip
        self._read()

    def start(self, name: str, endpoint: str) -> None:
        """Starts a worker.

        Raises:
            MasteryError: the name or the endpoint is none, or the process that forks workers has
                ended.
        """
        # Both go into a line, where a blank or the end of a line would be another command.
        if not is_endpoint(endpoint) or _NAME.fullmatch(name) is None:
            raise MasteryError(
                "expected the name of a worker and host:port of its TaskManager, found "
                f"{name!r} and {endpoint!r}"
            )
        with self.lock:
            pid = int(self._ask(f"start {endpoint} {name}"))
            self.workers[pid] = _Worker(name, endpoint)
        self.say(f"worker {name} (process {pid}) for the TaskManager at {endpoint}")

    def look(self) -> None:
        """Forgets workers that have ended, says how, and ends those whose TaskManager has gone."""
        with self.lock:
            for item in self._ask("ended").split():
                pid, code = map(int, item.split(":"))
                worker = self.workers.pop(pid)
                # A worker whose TaskManager goes away in the middle of a call ends with an error.
                if code and _listens(worker.endpoint):
                    self.say(f"worker {worker.name} (process {pid}) died: {_describe(code)}")
            for pid, worker in self.workers.items():
                worker.silent = 0 if _listens(worker.endpoint) else worker.silent + 1
                if worker.silent == _GONE:
                    os.kill(pid, signal.SIGTERM)
                elif worker.silent > _GONE:
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends all workers."""
        if self.forker is None:
            return
        with self.lock:
            # Workers of one that has ended have ended with it, and others may have their numbers.
            pids = [*self.workers] if self.forker.poll() is None else []
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            self.forker.communicate()  # workers end with it: see `end_with_parent`
            for pid in pids:
                _wait_for_end(pid)

    def _ask(self, line: str) -> str:
        assert self.forker is not None, "the pool is open"
        assert self.forker.stdin is not None, "it is a pipe"
        try:
            self.forker.stdin.write(f"{line}\n")
            self.forker.stdin.flush()
        except BrokenPipeError:
            pass  # said below
        return self._read()

    def _read(self) -> str:
        assert self.forker is not None, "the pool is open"
        assert self.forker.stdout is not None, "it is a pipe"
        line = self.forker.stdout.readline()
        if not line:
            raise MasteryError(
                f"the process that starts SDK workers has ended (exit code {self.forker.wait()}); "
                "what it printed says why."
            )
        return line.strip()


def _servicer(pool: _Pool) -> object:
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

    class Servicer(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
        """What TaskManagers call."""

        def StartWorker(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ARG002
            try:
                pool.start(request.worker_id, request.control_endpoint.url)
            except (MasteryError, ValueError) as error:
                return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
            return beam_fn_api_pb2.StartWorkerResponse()

        def StopWorker(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ARG002
            # Another TaskManager's worker may have the same number. The one that is meant ends
            # because its TaskManager closes the connection.
            return beam_fn_api_pb2.StopWorkerResponse()

    return Servicer()


def _listens(endpoint: str) -> bool:
    try:
        socket.create_connection(split_endpoint(endpoint), timeout=1.0).close()
    except OSError:
        return False
    return True


def _describe(code: int) -> str:
    if code == -signal.SIGKILL:
        return "it was killed, as the system does when memory runs out"
    return f"signal {-code}" if code < 0 else f"exit code {code}; what it printed says why"


def _wait_for_end(pid: int) -> None:
    """Waits until a process that is not a child of this one has ended; kills it in the end."""
    deadline = time.monotonic() + _GRACE
    try:
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _fork_on_request(parent: int) -> None:
    """Imports what jobs need, then forks a worker for each `start` that it reads.

    It has a single thread and uses nothing of what it imports: see `ForkedProcesses`.
    """
    end_with_parent(parent)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what imports and workers print belongs into no answer
    from components.node.node_id import Node
    from pipeline.run.imports import IMPORTS, import_early

    for node in (Node.EXAMPLE_GEN, Node.STATISTICS_GEN, Node.TRANSFORM, Node.EVALUATOR):
        for name in IMPORTS[node]:
            if name.partition(".")[0] not in ("components", "polars"):  # Polars starts threads
                import_early(name)
    answers.write("ready\n")

    while line := sys.stdin.readline():
        command, *arguments = line.split()
        if command == "ended":
            answers.write(" ".join(_ended_workers()) + "\n")
            continue
        forker = os.getpid()
        pid = os.fork()
        if pid == 0:
            _work(*arguments, forker=forker)
        answers.write(f"{pid}\n")


def _ended_workers() -> list[str]:
    """Returns the workers that have ended since the last call, as `pid:exit code`."""
    ended: list[str] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append(f"{pid}:{os.waitstatus_to_exitcode(status)}")


def _work(endpoint: str, name: str, *, forker: int) -> None:
    """Serves one TaskManager, and ends this process."""
    code = 1
    try:
        end_with_parent(forker)
        import logging

        from apache_beam.runners.worker.sdk_worker import SdkHarness

        logging.getLogger().setLevel(logging.INFO)
        SdkHarness(endpoint, worker_id=name, data_buffer_time_limit_ms=-1).run()
        code = 0
    except BaseException:
        import traceback

        if _listens(endpoint):  # else its TaskManager has ended
            traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _fork_on_request(int(sys.argv[1]))
