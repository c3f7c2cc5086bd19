"""A server that speaks Google Cloud Storage's API, but for preconditions: who comes second is not told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gcsfs

from tests.ports import free_port


@dataclass(frozen=True)
class GcsBucket:
    """An empty bucket."""

    name: str


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


def make_bucket(name: str) -> GcsBucket:
    """Makes a bucket on the server that the environment names."""
    gcsfs.GCSFileSystem(skip_instance_cache=True).mkdir(name)
    return GcsBucket(name)
