"""Fixtures: an empty database of answers."""

from tests.serving.answers.conftest import database, database_url

__all__ = ["database", "database_url"]
