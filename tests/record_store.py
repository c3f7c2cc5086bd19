"""A small record store for tests: pages of statements as xAPI 1.0.3 describes them, and faults."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

USER, PASSWORD = "reader", "s3cret-of-the-store"
START = datetime(2026, 11, 26, 23, 0, tzinfo=UTC)


@dataclass
class Fault:
    """What the store answers instead of statements, once."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Store:
    """A running store.

    Attributes:
        statements: in the order in which they were stored.
        faults: taken before anything else, first to last.
        requests: query and headers of each request.
        through: how far the store says that it is consistent.
        relative: whether links to more are without scheme and host.
    """

    port: int
    statements: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[dict[str, str], dict[str, str]]] = field(default_factory=list)
    through: str | None = None
    relative: bool = True
    most: int = 4  # statements in a page

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"http://127.0.0.1:{self.port}/xapi"

    def add(self, *numbers: int) -> None:
        """Stores statements: number n comes n minutes after the start."""
        for number in numbers:
            moment = START + timedelta(minutes=number)
            self.statements.append(
                {
                    "id": str(UUID(int=number)),
                    "stored": moment.isoformat().replace("+00:00", "Z"),
                    "timestamp": moment.isoformat(),
                    "actor": {"account": {"homePage": "https://lms.example", "name": f"u{number}"}},
                    "verb": {"id": "http://adlnet.gov/expapi/verbs/completed"},
                    "object": {"id": f"https://lms.example/é/{number}"},
                }
            )
        self.statements.sort(key=lambda item: str(item["stored"]))

    def answer(self, path: str) -> dict[str, Any]:
        """Returns a page."""
        query = {key: values[-1] for key, values in parse_qs(urlsplit(path).query).items()}
        assert query.get("ascending") == "true"
        found = [
            item for item in self.statements
            if "since" not in query or _moment(item["stored"]) > _moment(query["since"])
        ]  # fmt: skip
        place = int(query.get("from", 0))
        most = min(int(query["limit"]), self.most)
        page: dict[str, Any] = {"statements": found[place : place + most], "more": ""}
        if place + most < len(found):
            link = f"/xapi/statements?{urlencode({**query, 'from': place + most})}"
            page["more"] = link if self.relative else f"http://127.0.0.1:{self.port}{link}"
        return page


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@contextmanager
def serve_store() -> Iterator[Store]:
    """Runs an empty store until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {key: values[-1] for key, values in parse_qs(urlsplit(self.path).query).items()}
            store.requests.append((query, dict(self.headers)))
            if store.faults:
                fault = store.faults.pop(0)
                self._send(fault.status, fault.headers, fault.body)
            elif self.headers["Authorization"] != f"Basic {_LOGIN}":
                self._send(401, {}, b"")
            else:
                through = store.through
                headers = {"X-Experience-API-Consistent-Through": through} if through else {}
                self._send(200, headers, json.dumps(store.answer(self.path)).encode())

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        store = Store(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()


_LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
