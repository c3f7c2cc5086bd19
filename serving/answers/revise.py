"""Writes the next revision of the database: `python -m serving.answers.revise TEXT`.

Read what it wrote before you commit it: Alembic sees a renamed column as one dropped and one added.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from serving.answers.database import MIGRATIONS


def revise(text: str) -> Path:
    """Returns the file of a new revision: what the tables have and the last revision lacks."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    number = len([*ScriptDirectory.from_config(config).walk_revisions()]) + 1

    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/empty.db")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            made = command.revision(config, text, autogenerate=True, rev_id=f"{number:04d}")
        engine.dispose()
    return Path(made.path)  # type: ignore[union-attr]


if __name__ == "__main__":
    print(revise(sys.argv[1]))
