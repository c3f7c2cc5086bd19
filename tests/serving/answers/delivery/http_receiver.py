"""A real HTTP server that takes messages, and behaves as each test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def key(self) -> str | None:
        return self.headers.get("Idempotency-Key")


# Status and headers of an answer, or None for no answer: the connection is ended.
Answer = tuple[int, dict[str, str]] | None
Behaviour = Callable[[Request], Answer]


def answer(status: int, **headers: str) -> Behaviour:
    """Always answers the same; `Retry_After` stands for the header `Retry-After`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: (status, named)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behaves in one way after the other, and then always in the last."""
    left = list(behaviours)

    def behave(request: Request) -> Answer:
        return (left.pop(0) if len(left) > 1 else left[0])(request)

    return behave


def hang_up(_: Request) -> Answer:
    """Ends the connection after the request."""
    return None


@dataclass
class HttpReceiver:
    """A running server; `behave` may be replaced."""

    url: str
    behave: Behaviour
    received: list[Request] = field(default_factory=list)

    @property
    def keys(self) -> list[str | None]:
        return [request.key for request in self.received]


@contextmanager
def http_receiver(behave: Behaviour | None = None) -> Iterator[HttpReceiver]:
    """Runs a server, which answers 200 unless told otherwise."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, self.headers, body)
            receiver.received.append(request)
            answered = receiver.behave(request)
            if answered is None:
                self.wfile.write(b"HTTP/1.1 200 O")  # in the middle of its first line
                self.close_connection = True
                return
            try:
                self.send_response(answered[0])
                for name, value in answered[1].items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except (BrokenPipeError, ConnectionResetError):  # the sender has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = HttpReceiver(f"http://127.0.0.1:{server.server_port}", behave or answer(200))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
