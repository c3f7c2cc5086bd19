"""A Moodle on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mariadb import PASSWORD, USER
from tests.moodle import Moodle, new_moodle


@pytest.fixture(params=["mariadb", "postgresql"])
def moodle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moodle]:
    """A Moodle with empty tables, on MariaDB and on PostgreSQL; `MOODLE` has its address."""
    server = request.getfixturevalue(request.param)
    if request.param == "mariadb":
        url = f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/mysql"
    else:
        url = server.url.replace("postgresql://", "postgresql+psycopg://")
    with new_moodle(url) as running:
        monkeypatch.setenv("MOODLE", running.url)
        yield running
