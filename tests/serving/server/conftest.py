"""Two saved models that differ in their weight, and a server of the first for read-only tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.server.running import Running, running
from tests.serving.server.tiny import push, save_model


@pytest.fixture(scope="session")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weight is 2."""
    return save_model(tmp_path_factory.mktemp("twice") / "model", 2.0)


@pytest.fixture(scope="session")
def thrice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weight is 3."""
    return save_model(tmp_path_factory.mktemp("thrice") / "model", 3.0)


@pytest.fixture
def folder(tmp_path: Path, twice: Path) -> Path:
    """A folder with version 1, of weight 2."""
    push(twice, tmp_path, 1)
    return tmp_path


@pytest.fixture(scope="session")
def server(twice: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of version 1, of weight 2."""
    folder = tmp_path_factory.mktemp("served")
    push(twice, folder, 1)
    with running(folder, request_timeout=5.0, max_rows=50, max_request_bytes=100_000) as started:
        yield started
