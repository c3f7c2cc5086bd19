"""Fetching from real databases with Moodle's tables: every row once, in its newest state."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.config.fetch import DAY
from components.event_log.chunks import Chunk
from components.event_log.readers import read_chunks
from components.event_log.sources import find_files
from components.platforms.fetch import moodle_database, table_files
from components.platforms.fetch.fetch import fetch_events
from components.platforms.fetch.progress import FetchError, FetchProgress
from components.platforms.formats import mapping_of
from tests.moodle import LATE, LOG, Moodle, fetched, rows_in
from tests.moodle import settings_of as data

NOW = int(time.time())


def test_every_table_with_what_is_joined(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log((1, NOW), eventname="\\core\\event\\course_viewed", other='{"a": 1}', ip="10.0.0.1")
    moodle.insert("quiz", {"id": 7, "course": 2, "sumgrades": 8, "grade": 10})
    moodle.insert(
        "quiz_attempts",
        {"quiz": 7, "userid": 3, "state": "finished", "sumgrades": 6.5, "timemodified": NOW},
        {"quiz": 8, "userid": 3, "state": "inprogress", "timemodified": NOW},  # of a deleted quiz
    )
    moodle.insert(
        "grade_items",
        {"id": 5, "courseid": 2, "itemtype": "mod", "itemmodule": "quiz", "iteminstance": 7},
    )
    moodle.insert(
        "grade_grades",
        {"itemid": 5, "userid": 3, "finalgrade": 81.25, "timemodified": NOW},
        {"itemid": 5, "userid": 4, "finalgrade": None, "timemodified": None},  # not graded
    )
    kinds = {9: "page", 16: "quiz", 17: "h5pactivity"}
    moodle.insert("modules", *({"id": id_, "name": name} for id_, name in kinds.items()))
    for cmid, module, instance in ((11, 9, 1), (12, 16, 7), (13, 17, 4), (14, 9, 7)):
        moodle.insert(
            "course_modules", {"id": cmid, "course": 2, "module": module, "instance": instance}
        )
    moodle.insert(
        "course_modules_completion",
        {"coursemoduleid": 11, "userid": 3, "completionstate": 1, "timemodified": NOW},
    )
    moodle.insert("h5pactivity", {"id": 4, "course": 2})
    moodle.insert(
        "h5pactivity_attempts",
        {"h5pactivityid": 4, "userid": 3, "timecreated": NOW, "timemodified": NOW, "attempt": 1,
         "rawscore": 3, "maxscore": 4, "scaled": 0.75, "duration": 61},
    )  # fmt: skip

    lines = [*fetch_events(*data(tmp_path / "log"))]
    assert [line.split()[:2] for line in lines] == [
        [LOG, "1"], ["quiz_attempts", "2"], ["grade_grades", "1"],
        ["course_modules_completion", "1"], ["h5pactivity_attempts", "1"],
    ]  # fmt: skip

    [event] = rows_in(tmp_path).to_dicts()
    assert "ip" not in event
    assert (event["id"], event["timecreated"], event["userid"]) == (1, NOW, 3)
    assert (event["eventname"], event["other"]) == ("\\core\\event\\course_viewed", '{"a": 1}')
    attempts = rows_in(tmp_path, "quiz_attempts")
    assert attempts["sumgrades"].to_list() == [6.5, None]
    assert attempts["courseid"].to_list() == [2, None]
    assert attempts["quizsumgrades"].to_list() == [8.0, None]
    assert attempts["cmid"].to_list() == [12, None]
    [grade] = rows_in(tmp_path, "grade_grades").to_dicts()
    assert (grade["finalgrade"], grade["courseid"], grade["cmid"]) == (81.25, 2, 12)
    assert (grade["itemtype"], grade["modname"], grade["grademax"]) == ("mod", "quiz", 100.0)
    [done] = rows_in(tmp_path, "course_modules_completion").to_dicts()
    assert (done["courseid"], done["modname"]) == (2, "page")
    [h5p] = rows_in(tmp_path, "h5pactivity_attempts").to_dicts()
    assert (h5p["scaled"], h5p["duration"], h5p["courseid"], h5p["cmid"]) == (0.75, 61, 2, 13)


def test_names_of_users_at_the_login_stay(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log((1, NOW), courseid=0, other='{"username": "ann"}')
    assert fetched(tmp_path)["other"].to_list() == [None]


def test_only_what_is_new(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log((1, NOW - 9000), (2, NOW - 8000))
    assert fetched(tmp_path)["id"].to_list() == [1, 2]
    [file] = tmp_path.rglob("*.parquet")
    before = file.stat().st_ino

    assert [*fetch_events(*data(tmp_path, tables=[LOG]))] == [
        f"{LOG:<26}         0 new rows, 0 changed"
    ]
    assert file.stat().st_ino == before  # not written again

    moodle.log((3, NOW))
    assert fetched(tmp_path)["id"].to_list() == [1, 2, 3]


def test_a_smaller_id_that_becomes_visible_later(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log((1, NOW - 5000), (3, NOW))
    assert fetched(tmp_path)["id"].to_list() == [1, 3]
    moodle.log((2, NOW - LATE // 2), (4, NOW))  # another with an equal time, too
    assert fetched(tmp_path)["id"].to_list() == [1, 2, 3, 4]


def test_a_restored_course_brings_old_times(moodle: Moodle, tmp_path: Path) -> None:
    moodle.insert("quiz_attempts", {"id": 1, "quiz": 1, "userid": 3, "timemodified": NOW})
    moodle.log((1, NOW))
    assert fetched(tmp_path, "quiz_attempts").height == 1
    moodle.insert("quiz_attempts", {"id": 2, "quiz": 1, "userid": 3, "timemodified": 1_000_000})
    moodle.log((2, 1_000_000))
    assert fetched(tmp_path, "quiz_attempts")["id"].to_list() == [1, 2]
    assert rows_in(tmp_path)["id"].to_list() == [1, 2]


@pytest.mark.parametrize("by_day", [False, True])
def test_a_row_that_changes_is_there_once(moodle: Moodle, tmp_path: Path, by_day: bool) -> None:
    folder = tmp_path / DAY if by_day else tmp_path
    day = 86400
    rows = [{"id": n, "quiz": 1, "userid": 3, "timemodified": n * day} for n in (1, 2, 3)]
    moodle.insert("quiz_attempts", *rows)
    [*fetch_events(*data(folder))]
    assert rows_in(tmp_path, "quiz_attempts").height == 3

    moodle.run(
        f"UPDATE mdl_quiz_attempts SET state = 'finished', timemodified = {NOW} WHERE id = 1"
    )
    lines = [*fetch_events(*data(folder))]
    assert "0 new rows, 1 changed" in lines[1]
    found = rows_in(tmp_path, "quiz_attempts").sort("id")
    assert found["state"].to_list() == ["finished", "inprogress", "inprogress"]
    days = sorted(path.parent.name for path in tmp_path.rglob("quiz_attempts-*"))
    today = time.strftime("%Y-%m-%d", time.gmtime(NOW))
    assert days == (["1970-01-03", "1970-01-04", today] if by_day else ["quiz_attempts"])


def test_since(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log((1, 86400 - 1), (2, 86400), (3, NOW))
    moodle.insert("quiz_attempts", *({"id": n, "quiz": 1, "userid": 3, "timemodified": t}
                                     for n, t in [(1, NOW), (2, 86399)]))  # fmt: skip
    assert fetched(tmp_path, since="1970-01-02")["id"].to_list() == [2, 3]
    assert rows_in(tmp_path, "quiz_attempts")["id"].to_list() == [1]
    assert fetched(tmp_path)["id"].to_list() == [1, 2, 3]  # now everything
    assert rows_in(tmp_path, "quiz_attempts")["id"].to_list() == [1, 2]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.data())
def test_stopped_anywhere_and_complete_after_a_second_try(
    moodle: Moodle, tmp_path_factory: pytest.TempPathFactory, plan: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    moodle.run("DELETE FROM mdl_logstore_standard_log")
    moodle.run("DELETE FROM mdl_quiz_attempts")
    ids = sorted(plan.draw(st.sets(st.integers(1, 40), min_size=1), "ids"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(table_files, "IDS", 5)
        for batch in (ids[::2], ids[1::2]):  # the second has smaller ids among those of the first
            moodle.log(*((id_, NOW - id_ % 3) for id_ in batch))
            attempts = [{"id": n, "quiz": 1, "userid": n, "timemodified": NOW} for n in batch]
            moodle.insert("quiz_attempts", *attempts)
            steps = plan.draw(st.integers(0, 12), "writes before it is killed")
            with _killed_after(steps, patched):
                [*fetch_events(*data(folder / DAY))]
        [*fetch_events(*data(folder / DAY))]
    assert sorted(rows_in(folder)["id"]) == ids
    assert sorted(rows_in(folder, "quiz_attempts")["id"]) == ids


class _Killed(BaseException):
    pass


class _killed_after:
    """Ends a fetch before the n-th file, or note of progress, that it would write."""

    def __init__(self, steps: int, patched: pytest.MonkeyPatch) -> None:
        self.left = steps
        self.patched = patched

    def __enter__(self) -> None:
        write, note = table_files.TableFiles._write, FetchProgress.write

        def step() -> None:
            self.left -= 1
            if self.left < 0:
                raise _Killed

        def writing(*given: Any) -> None:
            step()
            write(*given)

        def noting(*given: Any) -> Path:
            step()
            return note(*given)

        self.patched.setattr(table_files.TableFiles, "_write", writing)
        self.patched.setattr(FetchProgress, "write", noting)
        self.saved = (write, note)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.patched.setattr(table_files.TableFiles, "_write", self.saved[0])
        self.patched.setattr(FetchProgress, "write", self.saved[1])
        return kind in (None, _Killed)


def test_two_fetches_at_once(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log(*((n, NOW) for n in range(1, 400)))
    failed: list[BaseException] = []

    def fetch() -> None:
        try:
            [*fetch_events(*data(tmp_path, tables=[LOG]))]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert rows_in(tmp_path)["id"].to_list() == [*range(1, 400)]


def test_a_folder_of_another_platform(
    moodle: Moodle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moodle.log((1, NOW))
    fetched(tmp_path)
    monkeypatch.setattr(moodle_database.MoodleDatabase, "origin", "elsewhere/moodle mdl_")
    with pytest.raises(FetchError, match="expected files from elsewhere/moodle mdl_, found those"):
        fetched(tmp_path)
    (tmp_path / FetchProgress.FILE).unlink()
    assert fetched(tmp_path)["id"].to_list() == [1]


def test_a_file_that_was_damaged_is_named(moodle: Moodle, tmp_path: Path) -> None:
    moodle.log((1, NOW))
    fetched(tmp_path)
    [file] = tmp_path.rglob("*.parquet")
    file.write_bytes(b"PAR1")
    moodle.log((2, NOW))
    with pytest.raises(FetchError, match=r"000000\.parquet: expected a file that `mastery fetch`"):
        fetched(tmp_path)
    file.unlink()
    (tmp_path / FetchProgress.FILE).unlink()
    assert fetched(tmp_path)["id"].to_list() == [1, 2]


def test_read_by_the_format(moodle: Moodle, tmp_path: Path) -> None:
    """What is fetched is what the format `moodle` reads, with one name for each activity."""
    moodle.insert("modules", {"id": 16, "name": "quiz"})
    moodle.insert("course_modules", {"id": 12, "course": 2, "module": 16, "instance": 7})
    moodle.insert("quiz", {"id": 7, "course": 2, "sumgrades": 8, "grade": 10})
    moodle.log(
        (1, NOW), (2, NOW + 1), eventname="\\mod_quiz\\event\\course_module_viewed",
        component="mod_quiz", contextinstanceid=12,
    )  # fmt: skip
    moodle.insert(
        "quiz_attempts",
        {"quiz": 7, "userid": 3, "state": "finished", "sumgrades": 6, "timestart": NOW,
         "timefinish": NOW + 60, "timemodified": NOW + 60},
    )  # fmt: skip
    moodle.insert("grade_items", {"id": 5, "courseid": 2, "itemtype": "mod", "itemmodule": "quiz",
                                  "iteminstance": 7})  # fmt: skip
    moodle.insert(
        "grade_grades", {"itemid": 5, "userid": 3, "finalgrade": 75, "timemodified": NOW + 61}
    )
    moodle.insert(
        "course_modules_completion",
        {"coursemoduleid": 12, "userid": 3, "completionstate": 1, "timemodified": NOW + 62},
    )
    [*fetch_events(*data(tmp_path))]

    wanted = ["learner_id", "unit_id", "event_type", "component", "score"]
    rows: list[tuple[Any, ...]] = []
    for file in find_files("events", [str(tmp_path)]).files:
        for chunk in read_chunks(file, wanted, mapping_of("moodle")):
            assert isinstance(chunk, Chunk), chunk
            known = [name if name in chunk.frame.columns else None for name in wanted]
            rows += chunk.frame.select(
                pl.col(name) if name else pl.lit(None) for name in known
            ).rows()
    assert {row[:2] for row in rows} == {("3", "2")}
    assert {row[3] for row in rows} == {"quiz/12"}
    scores = sorted((row[2], row[4]) for row in rows if row[4] is not None)
    assert [(kind, float(score)) for kind, score in scores] == [
        ("grade", 0.75), ("quiz_attempt", 0.75),
    ]  # fmt: skip
    assert len(rows) == 5
