"""Predict requests as JSON, in rows (`instances`) or columns (`inputs`).

Python's parser holds the interpreter for as long as it reads: 1.3 s for 16 MiB of `[[],[],...]`,
which then take 360 MiB. So large requests are read in another process, and others are answered
meanwhile. It starts with the first large request, has a memory limit, and ends with the server.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from grpc import StatusCode

from components.command.escape import shorten
from components.contracts.names import SERVING_DEFAULT
from serving.server.child_process import start_child
from serving.server.json_tensors import (
    decode_json,
    is_b64,
    json_excerpt,
    json_kind,
    refuse_overflow,
)
from serving.server.model_signatures import Arrays, Signature
from serving.server.request_error import RequestError, invalid, listed

MEMORY_PER_BYTE = 7  # bytes that the process may take for each byte of the largest request
LOWER_PRIORITY = 5

# The signature's name, whether the request is in rows, and the arrays; None if the model does not
# have that signature.
Read: TypeAlias = tuple[str, bool, Arrays | None]
T = TypeVar("T")
Reader = Callable[[bytes, Mapping[str, Signature]], T]


@dataclass(frozen=True)
class JsonRequest:
    """A request before its tensors are read.

    Attributes:
        signature_name: "" for the default.
        is_row_form: whether it has `instances` rather than `inputs`.
        content: the value of that key.
        text: the whole request.
    """

    signature_name: str
    is_row_form: bool
    content: Any
    text: str


def read_request(body: bytes, signatures: Mapping[str, Signature]) -> Read:
    """Reads a request to `:predict`.

    Raises:
        RequestError: it is not a valid request for its signature.
    """
    request = parse_request(body)
    signature = signatures.get(request.signature_name or SERVING_DEFAULT)
    arrays = None if signature is None else decode_json_inputs(request, signature)
    return request.signature_name, request.is_row_form, arrays


def parse_request(body: bytes) -> JsonRequest:
    """Reads the outer object of a request.

    Raises:
        RequestError: no JSON object with either `instances` or `inputs`.
    """
    text, document = _parse_object(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"signature_name: expected a string, found {json_kind(name)}.")

    forms = [key for key in ("instances", "inputs") if key in document]
    if len(forms) != 1:
        found = "both" if forms else "neither"
        raise invalid(f"expected one of the keys 'instances' and 'inputs', found {found}.")
    form = forms[0]
    return JsonRequest(name, form == "instances", document[form], text)


def parse_examples_request(body: bytes) -> str:
    """Reads the outer object of a request to classify or regress.

    Returns:
        The signature's name; "" for the default.

    Raises:
        RequestError: no JSON object with `examples`, in TensorFlow Serving's words.
    """
    text, document = _parse_object(body)
    quoted = f"JSON Value: {shorten(text, 500)}"

    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"{quoted} not formatted correctly. 'signature_name' key must be a string value."
        )
    if "examples" not in document:
        raise invalid(
            f"{quoted} When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(document["examples"], list):
        raise invalid(f"{quoted} Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise invalid(f"{quoted} 'examples' value is an empty array")
    return name


def _parse_object(body: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = body.decode()
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error

    if not isinstance(document, dict):
        raise invalid(f"expected a JSON object, found {json_kind(document)}.")
    return text, document


def decode_json_inputs(request: JsonRequest, signature: Signature) -> Arrays:
    """Returns the arrays of a request.

    Raises:
        RequestError: an input is unknown, lists have unequal lengths, or values have another type
            or are out of range.
    """
    columns = _columns_of_rows if request.is_row_form else _columns
    arrays = {
        name: decode_json(values, signature.inputs[name])
        for name, values in columns(request.content, signature).items()
    }
    refuse_overflow(request.text, arrays)
    return arrays


def _columns(content: Any, signature: Signature) -> Mapping[str, Any]:
    if type(content) is not dict or is_b64(content):
        return {_only_input(signature, "inputs"): content}
    _check_inputs(content.keys(), signature)
    return content


def _columns_of_rows(content: Any, signature: Signature) -> Mapping[str, Any]:
    if type(content) is not list or not content:
        found = "none" if content == [] else json_kind(content)
        raise invalid(f"instances: expected a list of one or more, found {found}.")

    are_objects = [type(row) is dict and not is_b64(row) for row in content]
    if not any(are_objects):
        return {_only_input(signature, "instances"): content}
    if not all(are_objects):
        found = json_kind(content[are_objects.index(False)])
        raise invalid(f"instances: expected objects, found {found} among them.")

    keys = content[0].keys()
    _check_inputs(keys, signature)
    for at, row in enumerate(content):
        if row.keys() != keys:
            raise invalid(
                f"instances, element {at}: expected the keys {', '.join(keys)}; "
                f"found {json_excerpt(row)}."
            )
    return {name: [row[name] for row in content] for name in keys}


def _only_input(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        raise invalid(
            f"{key}: expected values by the names {', '.join(signature.inputs)}; "
            "found them without names."
        )
    return next(iter(signature.inputs))


def _check_inputs(names: Any, signature: Signature) -> None:
    unknown = [name for name in names if name not in signature.inputs]
    if unknown:
        raise invalid(
            f"{signature.name}: expected the inputs {', '.join(signature.inputs)}; "
            f"found {listed(unknown)}."
        )


class JsonProcess:
    """Reads requests one after the other in another process; belongs to one event loop."""

    def __init__(self, max_request_bytes: int) -> None:
        self._memory = MEMORY_PER_BYTE * max_request_bytes
        self._thread = ThreadPoolExecutor(1, "json")
        self._turn = asyncio.Lock()
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
            signatures: the model's, by name.
            reader: a module's function, such as `read_request`.

        Returns:
            What the reader returns.

        Raises:
            RequestError: what the reader raises; or the request takes too much memory; or the
                process has died.
        """
        # Requests wait here, not in the thread's queue, which would keep the bodies of those that
        # have timed out. The turn ends with the reading, even if its request has been given up.
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._thread, self._ask, body, signatures, reader)
        reading.add_done_callback(lambda _: self._turn.release())
        result: T | Exception = await asyncio.shield(reading)

        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Ends the process."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._end()  # a thread that waits for an answer gets an end of file

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _ask(
        self, body: bytes, signatures: Mapping[str, Signature], reader: Reader[T]
    ) -> T | Exception:
        try:
            connection = self._connect()
            connection.send((reader, _light(signatures)))
            connection.send_bytes(body)
            result: T | Exception = connection.recv()
            return result
        except (OSError, EOFError):
            self._connection = None
            self._end()
            return RequestError(
                StatusCode.UNAVAILABLE,
                "the process that reads large requests has ended; try again, or with less.",
            )

    def _connect(self) -> Connection[Any, Any]:
        if self._connection is not None:
            return self._connection

        here = Path(__file__).parents[2]
        self._process, self._connection = start_child(__name__, self._memory, cwd=here)
        return self._connection


def _light(signatures: Mapping[str, Signature]) -> dict[str, Signature]:
    """Returns the signatures without outputs, ready for a process without TensorFlow.

    The specs look up their dtypes in TensorFlow and keep them.
    """
    for signature in signatures.values():
        for spec in signature.inputs.values():
            _ = spec.dtype, spec.dtype_name
    return {name: Signature(name, item.inputs, {}) for name, item in signatures.items()}


def main(descriptor: int, memory: int) -> None:
    """Answers until the server ends.

    Args:
        descriptor: of the socket that leads to the server.
        memory: bytes that requests may take.
    """
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
            reason = "the request takes too much memory to read."
            connection.send(RequestError(StatusCode.OUT_OF_RANGE, reason))


def _answer(body: bytes, signatures: Mapping[str, Signature], reader: Reader[T]) -> T | Exception:
    try:
        return reader(body, signatures)
    except RequestError as error:
        return error
    except MemoryError:
        return RequestError(
            StatusCode.OUT_OF_RANGE,
            "the request takes too much memory to read as JSON; "
            "send fewer rows at a time, or use gRPC.",
        )
    except Exception as error:
        return RequestError(StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def _limit_memory(more: int) -> None:
    """Limits this process to a number of bytes beyond those it has, if the system allows that."""
    if sys.platform != "linux":
        return

    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    data = next(line.split()[1] for line in status.splitlines() if line.startswith("VmData:"))
    most = int(data) * 1024 + more
    # The hard limit stays: only root may raise it again.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
