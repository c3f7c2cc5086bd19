"""Fixtures: an empty database of answers, on SQLite and on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from serving.answers.database import open_database
from tests.postgresql import PostgreSQL


def new_database(server: PostgreSQL, template: str = "template1") -> str:
    """Makes a database on a server, empty or as a copy of another; returns its address."""
    name = f"answers_{uuid.uuid4().hex[:12]}"
    address = server.url.replace("postgresql://", "postgresql+psycopg://")
    admin = create_engine(address, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    admin.dispose()
    return server.url.removesuffix("postgres") + name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/answers.db"
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """An empty database with the newest tables, of each kind in turn."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()
