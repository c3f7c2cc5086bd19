"""Moodle's database is read without writing, locks or more rights than it needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.errors import MasteryError
from components.platforms.fetch.fetch import fetch_events
from components.platforms.fetch.moodle_database import MoodleDatabase, open_moodle
from components.platforms.fetch.progress import FetchError
from tests.moodle import LOG, Moodle, fetched, rows_in
from tests.moodle import settings_of as data

NOW = int(time.time())


def test_writing_is_impossible(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log((1, NOW))
    with (
        open_moodle(data(tmp_path)[0]) as database,
        pytest.raises(FetchError, match=r"(?i)read.only"),
        database.reading() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM mdl_logstore_standard_log")
    assert fetched(tmp_path)["id"].to_list() == [1]


def test_the_platform_need_not_wait(
    moodle: Moodle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two queries a fetch holds no lock: a table can be changed, even dropped."""
    moodle.log((1, NOW), (60_000, NOW), (120_000, NOW))
    read, ranges = MoodleDatabase.read, []

    def upgrading(self: MoodleDatabase, *given: Any) -> pl.DataFrame:
        rows = read(self, *given)
        ranges.append(given[2])
        kind = "lock_timeout = '5s'" if "postgresql" in moodle.url else "lock_wait_timeout = 5"
        with moodle.engine.begin() as connection:
            connection.exec_driver_sql(f"SET {kind}")
            connection.exec_driver_sql(
                f"ALTER TABLE mdl_logstore_standard_log ADD COLUMN added{len(ranges)} integer"
            )
        return rows

    monkeypatch.setattr(MoodleDatabase, "read", upgrading)
    assert fetched(tmp_path, tables=[LOG])["id"].to_list() == [1, 60_000, 120_000]
    assert len(ranges) == 3


def test_a_query_that_takes_too_long_is_ended(moodle: Moodle, tmp_path: Path) -> None:
    sleep = (
        "SELECT pg_sleep(20)" if "postgresql" in moodle.url else "SELECT SLEEP(20) FROM mdl_quiz"
    )
    moodle.insert("quiz", {"id": 1, "course": 2})
    settings, _ = data(tmp_path, timeout_seconds=0.2)
    with (
        open_moodle(settings) as database,
        pytest.raises(FetchError, match=r"data\.fetch\.timeout_seconds \(0\.2\)"),
        database.reading() as connection,
    ):
        connection.exec_driver_sql(sleep)


def test_a_table_that_this_moodle_lacks(moodle: Moodle, tmp_path: Path) -> None:
    moodle.run("DROP TABLE mdl_h5pactivity_attempts")
    moodle.run("ALTER TABLE mdl_quiz_attempts DROP COLUMN uniqueid")
    moodle.insert("quiz_attempts", {"quiz": 1, "userid": 3, "timemodified": NOW})
    lines = [*fetch_events(*data(tmp_path))]
    assert lines[-1].split(maxsplit=1) == ["h5pactivity_attempts", "not in this Moodle"]
    assert rows_in(tmp_path, "quiz_attempts")["uniqueid"].to_list() == [None]


@pytest.mark.usefixtures("moodle")
def test_a_wrong_prefix(tmp_path: Path) -> None:
    text = rf"expected the table m_{LOG}, found mdl_{LOG}\. Set data\.fetch\.prefix"
    with pytest.raises(MasteryError, match=text):
        fetched(tmp_path, prefix="m_")


def test_no_error_holds_the_password(
    moodle: Moodle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "postgresql" if "postgresql" in moodle.url else "mysql"
    for address in (f"{kind}://me:s3cret@127.0.0.1:1/db", "oracle://me:s3cret@h/db", "s3cret", ""):
        monkeypatch.setenv("MOODLE", address)
        with pytest.raises(FetchError, match="MOODLE") as caught:
            fetched(tmp_path / kind)
        assert "s3cret" not in str(caught.value)


READ = (
    "logstore_standard_log", "quiz_attempts", "quiz", "grade_grades", "grade_items",
    "course_modules_completion", "course_modules", "modules", "h5pactivity_attempts", "h5pactivity",
)  # fmt: skip


@pytest.fixture
def reader(moodle: Moodle, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user who may read these tables and no other one; the address is in the environment."""
    name = f"reader_{moodle.engine.url.database}"
    tables = [f"mdl_{table}" for table in READ]
    url = moodle.engine.url.set(username=name, password="r3ader")
    if url.get_backend_name() == "postgresql":
        moodle.run(f"CREATE ROLE {name} LOGIN PASSWORD 'r3ader'")
        moodle.run(f"GRANT SELECT ON {', '.join(tables)} TO {name}")
        gone = f"DROP OWNED BY {name}; DROP ROLE {name}"
    else:
        moodle.run(f"CREATE USER '{name}'@'%%' IDENTIFIED BY 'r3ader'")
        for table in tables:
            moodle.run(f"GRANT SELECT ON {url.database}.{table} TO '{name}'@'%%'")
        gone = f"DROP USER '{name}'@'%%'"
    monkeypatch.setenv("MOODLE", url.render_as_string(hide_password=False))
    yield name
    moodle.run(gone)


def test_the_rights_that_are_needed(moodle: Moodle, tmp_path: Path, reader: str) -> None:
    moodle.log((1, NOW))
    moodle.insert("quiz_attempts", {"quiz": 1, "userid": 3, "timemodified": NOW})
    lines = [*fetch_events(*data(tmp_path))]
    assert [line.split()[1] for line in lines] == ["1", "1", "0", "0", "0"]

    whom = reader if "postgresql" in moodle.url else f"'{reader}'@'%%'"
    moodle.run(f"REVOKE SELECT ON mdl_quiz_attempts FROM {whom}")
    with pytest.raises(FetchError, match=r"(?s)denied.*may its user read Moodle's tables"):
        [*fetch_events(*data(tmp_path))]
    tables = [LOG, "grade_grades"]
    assert len([*fetch_events(*data(tmp_path, tables=tables))]) == 2
