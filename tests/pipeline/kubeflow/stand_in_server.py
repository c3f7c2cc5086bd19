"""The stand-in for Kubeflow Pipelines on HTTP: checks every request before it answers."""

from __future__ import annotations

import email
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.pipeline.kubeflow.published_api import (
    ViolationError,
    find_operation,
    read_model,
    write_model,
)
from tests.pipeline.kubeflow.stand_in import RefusedError, StandIn


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        stand_in = self.server.stand_in
        if stand_in.page is not None:
            self._send(200, stand_in.page, "text/html; charset=utf-8")
            return
        try:
            if stand_in.token and self.headers.get("Authorization") != f"Bearer {stand_in.token}":
                raise RefusedError(401, "Unauthenticated")
            content = write_model(self._answer(stand_in, raw)) or {}
            status = 200
        except RefusedError as error:
            status, content = error.status, {"error": str(error), "code": 0, "message": str(error)}
        except Exception as error:  # whatever went wrong, the test has to know
            stand_in.violations.append(
                f"{self.command} {self.path}: {type(error).__name__}: {error}"
            )
            status, content = 400, {"error": str(error), "code": 3, "message": str(error)}
        self._send(status, json.dumps(content).encode(), "application/json")

    def _answer(self, stand_in: StandIn, raw: bytes) -> Any:
        url = urlsplit(self.path)
        operation, place = find_operation(self.command, url.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        unknown = query.keys() - operation.query
        if unknown:
            raise ViolationError(f"{operation.name} has no query parameters {sorted(unknown)}")
        body: Any = None
        if operation.file:
            body = self._file(raw, operation.file)
        elif operation.body:
            body = read_model(json.loads(raw), operation.body)
        elif raw:
            raise ViolationError(f"{operation.name} has no body, found {raw!r}")
        answer = stand_in.answer(operation, place, query, body)
        if answer is not None and type(answer).__name__ != operation.answer:
            raise ViolationError(
                f"the stand-in itself is wrong: {operation.name} answers {operation.answer}"
            )
        return answer

    def _file(self, raw: bytes, name: str) -> bytes:
        header = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
        [part] = email.message_from_bytes(header + raw).get_payload()  # type: ignore[misc]
        if part.get_param("name", header="Content-Disposition") != name:  # type: ignore[union-attr]
            raise ViolationError(f"expected a file in the form's field {name}")
        return part.get_payload(decode=True)  # type: ignore[union-attr, return-value]

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    """Serves a stand-in on a free port of this machine, in a thread."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stand_in = StandIn()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
