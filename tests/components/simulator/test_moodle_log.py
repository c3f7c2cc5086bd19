"""The simulated log as Moodle writes it: its tables, and what reading leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.platforms.formats import mapping_of
from components.simulator.moodle_log import ATTEMPTS, LOG
from components.simulator.simulate import simulate

COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "playback_speed",
]  # fmt: skip
LEARNERS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moodle")
    simulate(LEARNERS, 3, folder, format="moodle")
    return folder


def _read(path: Path, columns: list[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """Returns the events in a file, and how many records are left out by reason."""
    chunks = [*read_chunks(LogFile(str(path), "csv", 0), columns, mapping_of("moodle"))]
    frames: list[pl.DataFrame] = []
    hints: list[Hint] = []
    for chunk in chunks:
        assert not isinstance(chunk, Problem), chunk
        frames.append(chunk.frame)
        hints += chunk.hints
    return pl.concat(frames), {hint.text: hint.count for hint in merge_hints(hints)}


def test_what_is_no_learning_is_left_out_by_each_rule(folder: Path) -> None:
    events, left_out = _read(folder / LOG, COLUMNS)

    assert left_out.keys() == {
        f"records left out, {name}"
        for name in (
            "site", "guests and robots", "logged in as somebody else", "teaching", "anonymous",
            "scripts and restored courses", "logins, reports and administration",
            "lists of activities",
        )
    }  # fmt: skip
    rows = pl.scan_csv(folder / LOG).select(pl.len()).collect().item()
    assert events.height + sum(left_out.values()) == rows


def test_the_rows_are_those_of_the_table(folder: Path) -> None:
    log = pl.read_csv(folder / LOG)

    assert log["id"].to_list() == [*range(1, log.height + 1)]
    assert log["timecreated"].gt(1_700_000_000).all()
    statements = log.filter(pl.col("component") == "mod_h5pactivity")["other"]
    verbs = {json.loads(text)["verb"]["id"] for text in statements if text != "null"}
    assert verbs == {f"http://adlnet.gov/expapi/verbs/{verb}" for verb in ("answered", "completed")}


def test_the_attempts_are_those_at_exercises_and_quizzes(folder: Path) -> None:
    events, _ = _read(folder / LOG, COLUMNS)
    attempts, left_out = _read(folder / ATTEMPTS, [*COLUMNS, "score"])

    answered = events.filter(pl.col("event_type").is_in(["exercise", "quiz"]))
    keys = ["learner_id", "unit_id", "time", "component"]
    assert_frame_equal(attempts.select(keys), answered.select(keys))
    assert set(attempts["event_type"]) == {"h5p_attempt"}
    right = attempts["correct"].replace_strict({"1": 1.0, "0": 0.0}, default=None)
    known = right.is_not_null()
    assert (attempts["score"].cast(pl.Float64).filter(known) == right.filter(known)).all()
    assert not left_out
