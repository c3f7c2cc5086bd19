"""A Moodle for tests: its tables in a real database, with the columns of its own installation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Engine, create_engine, text

from components.config.fetch import Fetch, FetchFolder, fetch_folder
from components.platforms.fetch.fetch import fetch_events

LOG = "logstore_standard_log"
LATE = 7200  # seconds; rows come at most so late
_NAMES = itertools.count(1)

# `{id}` is a key that counts up, `{double}` and `{text}` are types whose names differ.
_TABLES = {
    "logstore_standard_log": """id {id}, eventname varchar(255) NOT NULL DEFAULT '',
        component varchar(100) NOT NULL DEFAULT '', action varchar(100) NOT NULL DEFAULT '',
        target varchar(100) NOT NULL DEFAULT '', objecttable varchar(50), objectid bigint,
        crud varchar(1) NOT NULL DEFAULT 'r', edulevel smallint NOT NULL DEFAULT 2,
        contextid bigint NOT NULL DEFAULT 1, contextlevel bigint NOT NULL DEFAULT 70,
        contextinstanceid bigint NOT NULL DEFAULT 1, userid bigint NOT NULL,
        courseid bigint, relateduserid bigint, anonymous smallint NOT NULL DEFAULT 0,
        other {text}, timecreated bigint NOT NULL, origin varchar(10), ip varchar(45),
        realuserid bigint""",
    "quiz": "id {id}, course bigint NOT NULL, name varchar(255) NOT NULL DEFAULT '', "
    "sumgrades decimal(10,5) NOT NULL DEFAULT 0, grade decimal(10,5) NOT NULL DEFAULT 0",
    "quiz_attempts": """id {id}, quiz bigint NOT NULL, userid bigint NOT NULL,
        attempt integer NOT NULL DEFAULT 1, uniqueid bigint NOT NULL DEFAULT 0, layout {text},
        currentpage bigint NOT NULL DEFAULT 0, preview smallint NOT NULL DEFAULT 0,
        state varchar(16) NOT NULL DEFAULT 'inprogress', timestart bigint NOT NULL DEFAULT 0,
        timefinish bigint NOT NULL DEFAULT 0, timemodified bigint NOT NULL DEFAULT 0,
        timecheckstate bigint DEFAULT 0, sumgrades decimal(10,5)""",
    "grade_items": """id {id}, courseid bigint, itemname varchar(255),
        itemtype varchar(30) NOT NULL DEFAULT '', itemmodule varchar(30), iteminstance bigint,
        itemnumber bigint, gradetype smallint NOT NULL DEFAULT 1,
        grademax decimal(10,5) NOT NULL DEFAULT 100, grademin decimal(10,5) NOT NULL DEFAULT 0,
        gradepass decimal(10,5) NOT NULL DEFAULT 0""",
    "grade_grades": """id {id}, itemid bigint NOT NULL, userid bigint NOT NULL,
        rawgrade decimal(10,5), rawgrademax decimal(10,5) NOT NULL DEFAULT 100,
        rawgrademin decimal(10,5) NOT NULL DEFAULT 0, usermodified bigint,
        finalgrade decimal(10,5), hidden bigint NOT NULL DEFAULT 0,
        locked bigint NOT NULL DEFAULT 0, overridden bigint NOT NULL DEFAULT 0,
        excluded bigint NOT NULL DEFAULT 0, feedback {text}, timecreated bigint,
        timemodified bigint""",
    "modules": "id {id}, name varchar(20) NOT NULL DEFAULT ''",
    "course_modules": "id {id}, course bigint NOT NULL, module bigint NOT NULL, "
    "instance bigint NOT NULL",
    "course_modules_completion": """id {id}, coursemoduleid bigint NOT NULL,
        userid bigint NOT NULL, completionstate smallint NOT NULL, overrideby bigint,
        timemodified bigint NOT NULL""",
    "h5pactivity": "id {id}, course bigint NOT NULL, name varchar(255) NOT NULL DEFAULT ''",
    "h5pactivity_attempts": """id {id}, h5pactivityid bigint NOT NULL, userid bigint NOT NULL,
        timecreated bigint NOT NULL, timemodified bigint NOT NULL, attempt integer NOT NULL,
        rawscore bigint DEFAULT 0, maxscore bigint DEFAULT 0, scaled {double} DEFAULT 0,
        duration bigint DEFAULT 0, completion smallint, success smallint""",
    "user": "id {id}, username varchar(100) NOT NULL, email varchar(100) NOT NULL",
}  # fmt: skip
_TYPES = {
    "postgresql": {"id": "bigserial PRIMARY KEY", "double": "double precision", "text": "text"},
    "mysql": {
        "id": "bigint AUTO_INCREMENT PRIMARY KEY",
        "double": "double",
        "text": "longtext",
    },
}


@dataclass
class Moodle:
    """A database with Moodle's tables.

    Attributes:
        url: its address, with a password.
        engine: for writing, as the platform does.
    """

    url: str
    engine: Engine
    prefix: str = "mdl_"

    def insert(self, table: str, *rows: Mapping[str, Any]) -> None:
        """Writes rows, in one transaction for each shape of row."""
        with self.engine.begin() as connection:
            for row in rows:
                names = ", ".join(self._quoted(name) for name in row)
                values = ", ".join(f":{name}" for name in row)
                into = self._quoted(self.prefix + table)
                connection.execute(text(f"INSERT INTO {into} ({names}) VALUES ({values})"), row)

    def run(self, statement: str) -> None:
        """Runs a statement in a transaction of its own."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def log(self, *events: tuple[int, int], **values: Any) -> None:
        """Writes rows of the log: an id and a time each."""
        self.insert(
            "logstore_standard_log",
            *({"id": id_, "timecreated": time, "userid": 3, "courseid": 2, **values}
              for id_, time in events),
        )  # fmt: skip

    def _quoted(self, name: str) -> str:
        return self.engine.dialect.identifier_preparer.quote(name)


@contextmanager
def new_moodle(server: str, prefix: str = "mdl_") -> Iterator[Moodle]:
    """Makes a database with Moodle's tables on a server, and removes it at the end.

    Args:
        server: the address of a database on it, which may not be Moodle's.
        prefix: of the tables.
    """
    name = f"moodle_{next(_NAMES)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    url = admin.url.set(database=name)
    engine = create_engine(url)
    moodle = Moodle(url.render_as_string(hide_password=False), engine, prefix)
    kind = "postgresql" if engine.dialect.name == "postgresql" else "mysql"
    try:
        for table, columns in _TABLES.items():
            quoted = moodle._quoted(prefix + table)
            moodle.run(f"CREATE TABLE {quoted} ({columns.format(**_TYPES[kind])})")
        log = moodle._quoted(f"{prefix}logstore_standard_log")
        moodle.run(f"CREATE INDEX {prefix}logsstanlog_tim_ix ON {log} (timecreated)")
        yield moodle
    finally:
        engine.dispose()
        with admin.connect() as connection:
            force = " WITH (FORCE)" if kind == "postgresql" else ""
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
        admin.dispose()


# What tests of fetching share.


def settings_of(folder: Path, **fetch: Any) -> tuple[Fetch, FetchFolder]:
    settings = {"database_env": "MOODLE", "overlap_seconds": LATE, **fetch}
    return Fetch(**settings), fetch_folder(str(folder))


def fetched(folder: Path, table: str = LOG, **fetch: Any) -> pl.DataFrame:
    """Fetches, and returns all rows of a table's files."""
    [*fetch_events(*settings_of(folder, **fetch))]
    return rows_in(folder, table)


def rows_in(folder: Path, table: str = LOG) -> pl.DataFrame:
    files = sorted(folder.rglob(f"{table}-*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files]) if files else pl.DataFrame()
