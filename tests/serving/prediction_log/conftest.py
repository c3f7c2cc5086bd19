"""Logs in a folder, in SQLite and in PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.postgresql import PostgreSQL
from tests.serving.server.tiny import push, save_model


@pytest.fixture(params=["parquet", "sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty log."""
    if request.param == "parquet":
        (tmp_path / "log").mkdir(0o750)
        return str(tmp_path / "log")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/answers.db"
    found: str = request.getfixturevalue("database")
    return found


@pytest.fixture
def database(postgresql: PostgreSQL) -> Iterator[str]:
    """The address of an empty database of PostgreSQL."""
    name = f"log_{uuid.uuid4().hex}"
    engine = create_engine(
        postgresql.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgresql.url.replace("/postgres", f"/{name}")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weight is 2."""
    return save_model(tmp_path_factory.mktemp("twice") / "model", 2.0)


@pytest.fixture
def folder(tmp_path: Path, twice: Path) -> Path:
    """A folder with version 1, of weight 2."""
    models = tmp_path / "models"
    models.mkdir()
    push(twice, models, 1)
    return models
