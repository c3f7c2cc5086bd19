"""A server with Google Cloud Storage's API, except preconditions, which it ignores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.ports import free_port


@contextmanager
def serve_gcs() -> Iterator[str]:
    """Yields the server's address."""
    from gcp_storage_emulator.server import create_server

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
