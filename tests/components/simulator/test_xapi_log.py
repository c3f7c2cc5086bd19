"""The simulated log as xAPI statements: valid ones, in all forms of a file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile, format_of
from components.platforms.formats import mapping_of
from components.simulator.simulate import simulate
from tests.ralph import find_programs, find_refused, validate

LEARNERS = 60
COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "playback_speed",
]  # fmt: skip
VERBS = "http://adlnet.gov/expapi/verbs/"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("xapi")
    simulate(LEARNERS, 3, folder, format="xapi")
    return folder / "events.jsonl"


@pytest.fixture(scope="module")
def statements(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> Path:
    """Where the program `ralph` is; skips, with the reason, where it cannot be installed."""
    return find_programs(request.config.cache.mkdir("ralph"))


def _read(path: Path) -> tuple[pl.DataFrame, list[Hint]]:
    frames, hints = [], []
    file = LogFile(str(path), format_of(str(path)) or "", 0)
    for chunk in read_chunks(file, COLUMNS, mapping_of("xapi")):
        assert not isinstance(chunk, Problem), str(chunk)
        frames.append(chunk.frame)
        hints += chunk.hints
    return pl.concat(frames), merge_hints(hints)


@pytest.mark.parametrize("form", ["array", "answer", "answers"])
def test_other_forms_of_the_same_statements_give_the_same_events(
    form: str, path: Path, statements: list[dict[str, Any]], tmp_path: Path
) -> None:
    page = {"more": "/xapi/statements?cursor=2"}
    texts = {
        "array": json.dumps(statements, indent=1),
        "answer": json.dumps({"statements": statements, "more": ""}),
        "answers": "".join(
            json.dumps({"statements": statements[start : start + 100], **page})
            for start in range(0, len(statements), 100)
        ),
    }
    (tmp_path / "log.json").write_text(texts[form], encoding="utf-8")
    frame, hints = _read(tmp_path / "log.json")
    expected, of_lines = _read(path)
    assert frame.equals(expected)
    assert [hint.count for hint in hints] == [hint.count for hint in of_lines]


def test_everything_else_is_left_out_for_its_reason(
    path: Path, statements: list[dict[str, Any]]
) -> None:
    frame, hints = _read(path)
    counted = {hint.text.removeprefix("records left out, "): hint.count for hint in hints}
    verbs = Counter(statement["verb"]["id"] for statement in statements)
    agents = [json.dumps(statement.get("context", {})) for statement in statements]
    expected = {
        "groups as actors": sum(item["actor"]["objectType"] == "Group" for item in statements),
        "voiding others (what they void counts where the log has it)": verbs[f"{VERBS}voided"],
        "plans (sub-statements)": verbs["http://activitystrea.ms/schema/1.0/plan"],
        "logins and enrolments": verbs["https://w3id.org/xapi/adl/verbs/logged-in"]
        + verbs[f"{VERBS}registered"],
        "predictions of Mastery": verbs["tag:mastery,2026:xapi/verbs/predicted"],
        "robots": sum("CourseBot" in agent for agent in agents),
        "test users": sum(item["actor"].get("name") == "Test user" for item in statements),
    }
    assert counted == expected
    assert min(expected.values()) > 0
    assert frame.height + sum(counted.values()) == len(statements)


def test_every_statement_is_valid(programs: Path, statements: list[dict[str, Any]]) -> None:
    assert find_refused(programs, statements) == []
    # The command knows some kinds of statements more closely, and is silent about the others.
    known = [
        item
        for item in statements
        if (item["verb"]["id"], item["object"].get("definition", {}).get("type"))
        in {
            (f"{VERBS}terminated", "https://w3id.org/xapi/video/activity-type/video"),
            ("http://id.tincanapi.com/verb/viewed", "http://activitystrea.ms/schema/1.0/page"),
        }
    ]
    done = validate(programs, known)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(known) > 100
    assert validate(programs, statements).returncode == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"actor": {"objectType": "Agent", "name": "without an identifier"}},
        {"verb": {"id": f"{VERBS}terminated", "word": "left"}},
        {"timestamp": "yesterday"},
        {"version": "0.9"},
        {"result": {"duration": "90 seconds"}},
        {"unheard_of": 1},
    ],
)
def test_a_broken_statement_is_refused(
    programs: Path, statements: list[dict[str, Any]], broken: dict[str, Any]
) -> None:
    video = next(item for item in statements if "/videos/" in item["object"].get("id", ""))
    assert find_refused(programs, [video, video | broken]) == [2]
    done = validate(programs, [video, video | broken])
    assert done.returncode != 0
    assert "Input event is not valid." in done.stderr


def test_statements_have_an_id_of_their_own(statements: list[dict[str, Any]]) -> None:
    ids = Counter(statement["id"] for statement in statements)
    assert max(ids.values()) == 1
    stored = [statement["stored"] for statement in statements]
    assert stored == sorted(stored)
    without = [item for item in statements if "timestamp" not in item]
    assert 0 < len(without) < len(statements) / 5
