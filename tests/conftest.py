"""Settings for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.mariadb import MariaDB, find_server, serve

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's greetings do not belong into a failed test's output

settings.register_profile("mastery", deadline=None)  # a busy machine is no failure
settings.load_profile("mastery")


@pytest.fixture(scope="session")
def mariadb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A MariaDB server for the metadata store; skips, with the reason, where there is none to be had."""
    with serve(find_server(request.config.cache.mkdir("mariadb")), tmp_path_factory.mktemp("mariadb")) as server:
        yield server
