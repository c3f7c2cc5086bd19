"""Large JSON requests are read in a process of their own, so that others are answered meanwhile.

Python's parser holds the interpreter for as long as it reads: 1.3 seconds for 16 MiB of `[[],[],...]`, which take 360
MiB then. The process is started with the first large request, has a limit of memory, and ends with the server.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from grpc import StatusCode

from components.contracts.names import SERVING_DEFAULT
from serving.server import json_forms
from serving.server.errors import RequestError
from serving.server.signatures import Arrays, Signature

MEMORY_OF_A_BYTE = 7  # bytes that the process may take for each byte of the largest request
LOWER_PRIORITY = 5

Read: TypeAlias = tuple[
    str, bool, Arrays | None
]  # the signature's name, whether in rows, arrays if it is known
T = TypeVar("T")
Reader = Callable[[bytes, Mapping[str, Signature]], T]


class JsonProcess:
    """Reads requests one after the other, in another process; belongs to one event loop."""

    def __init__(self, max_request_bytes: int) -> None:
        self._memory = MEMORY_OF_A_BYTE * max_request_bytes
        self._thread = ThreadPoolExecutor(1, "json")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None

    @property
    def pid(self) -> int | None:
        """The process's number; None before the first request."""
        return None if self._process is None else self._process.pid

    async def read(self, body: bytes, signatures: Mapping[str, Signature], reader: Reader[T]) -> T:
        """Reads one request.

        Args:
            body: JSON.
            signatures: of the model that is asked, by name.
            reader: a function of a module, such as `read_request`, and what it returns.

        Raises:
            RequestError: what the reader raises; or the request takes too much memory; or the process has died.
        """
        loop = asyncio.get_running_loop()
        result: T | Exception = await loop.run_in_executor(
            self._thread, self._ask, body, signatures, reader
        )
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Ends the process."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._end()  # the thread, if it waits for an answer, gets an end of file

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _ask(
        self, body: bytes, signatures: Mapping[str, Signature], reader: Reader[T]
    ) -> T | Exception:
        try:
            connection = self._connected()
            connection.send((reader, _light(signatures)))
            connection.send_bytes(body)
            found: T | Exception = connection.recv()
            return found
        except (OSError, EOFError):
            self._connection = None
            self._end()
            return RequestError(
                StatusCode.UNAVAILABLE,
                "the process that reads large requests has ended; try again, or with less.",
            )

    def _connected(self) -> Connection[Any, Any]:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno()), str(self._memory)],
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    cwd=Path(__file__).parents[2],
                )
            self._connection = Connection(ours.detach())
        return self._connection


def _light(signatures: Mapping[str, Signature]) -> dict[str, Signature]:
    """Returns the signatures with what the other process would need TensorFlow to find out."""
    for signature in signatures.values():
        for spec in signature.inputs.values():
            _ = spec.dtype, spec.dtype_name  # kept by the spec, and goes with it
    return {name: Signature(name, item.inputs, {}) for name, item in signatures.items()}


def read_request(body: bytes, signatures: Mapping[str, Signature]) -> Read:
    """Reads a request to `:predict`.

    Returns:
        The signature's name, whether the request is in rows, and the arrays; None for a signature that the model does
        not have.

    Raises:
        RequestError: what `json_forms` raises.
    """
    parsed = json_forms.parse_request(body)
    signature = signatures.get(parsed.signature_name or SERVING_DEFAULT)
    arrays = None if signature is None else json_forms.decode_inputs(parsed, signature)
    return parsed.signature_name, parsed.is_row_form, arrays


def _answer(body: bytes, signatures: Mapping[str, Signature], reader: Reader[T]) -> T | Exception:
    try:
        return reader(body, signatures)
    except RequestError as error:
        return error
    except MemoryError:
        reason = "the request takes too much memory to read as JSON; send fewer rows at a time, or ask by gRPC."
        return RequestError(StatusCode.OUT_OF_RANGE, reason)
    except Exception as error:
        return RequestError(StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def _limit_memory(more: int) -> None:
    """Lets this process take so many bytes more than it has, where the system has such a limit."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        data = next(line.split()[1] for line in status.splitlines() if line.startswith("VmData:"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = int(data) * 1024 + more
        # The hard limit stays: who is not root may not raise it.
        resource.setrlimit(
            resource.RLIMIT_DATA,
            (most if hard == resource.RLIM_INFINITY else min(most, hard), hard),
        )


def main(descriptor: int, memory: int) -> None:
    """Answers until the server ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the server, which ends this
    os.nice(LOWER_PRIORITY)
    gc.disable()  # a document has no cycles, and looking for some takes as long as reading it
    _limit_memory(memory)
    connection: Connection[Any, Any] = Connection(descriptor)
    while True:
        try:
            reader, signatures = connection.recv()
            result = _answer(connection.recv_bytes(), signatures, reader)
            connection.send(result)
        except (EOFError, OSError):
            return
        except MemoryError:
            connection.send(
                RequestError(StatusCode.OUT_OF_RANGE, "the request takes too much memory to read.")
            )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
