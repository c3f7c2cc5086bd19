"""What is wrong with a log of statements, as its user is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.config import Config
from components.errors import LogError
from components.event_log.log import check_log


def statement(**changes: Any) -> dict[str, Any]:
    record = {
        "actor": {"account": {"homePage": "https://lms.example.org", "name": "anna"}},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/answered"},
        "object": {"id": "https://lms.example.org/questions/1"},
        "timestamp": "2026-01-05T08:00:00Z",
        **changes,
    }
    return {name: value for name, value in record.items() if value is not None}


def refused(folder: Path, name: str, text: str, **data: Any) -> list[str]:
    """Returns why a log is refused whose events are in a file."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    (folder / "outcomes.csv").write_text(
        "learner_id,unit_id,as_of,mastery\nanna,algebra,2026-02-01,low\n", encoding="utf-8"
    )
    features = {"event_type": "categorical", "dwell_seconds": "numeric", "score": "numeric"}
    config = Config.model_validate(
        {
            "name": "test",
            "schema": "s",
            "data": {
                "format": "xapi",
                "events": str(folder / name),
                "outcomes": str(folder / "outcomes.csv"),
                "min_class_examples": 1,
                **data,
            },
            "label": {"column": "mastery", "classes": ["low", "high"]},
            "steps": {
                "max_steps": 3,
                "features": {column: {"type": kind} for column, kind in features.items()},
            },
            "gates": [{"metric": "accuracy", "min": 0}],
        }
    )
    with pytest.raises(LogError) as error:
        check_log(config)
    return [problem.replace(f"{folder}/", "") for problem in error.value.problems]


GOOD = json.dumps(statement())


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "log.jsonl",
            f"{GOOD}\n{json.dumps(statement(timestamp='yesterday'))}\n",
            "log.jsonl, line 2, column time: expected ",
        ),
        (
            "log.json",
            f"[{GOOD}, {json.dumps(statement(result={'duration': '90 seconds'}))}]",
            "log.json, record 2, column dwell_seconds: expected a number, or nothing for a missing "
            "one, found '90 seconds'",
        ),
        (
            "log.jsonl",
            f"{GOOD}\n{json.dumps(statement(result={'score': {'scaled': 'high'}}))}\n",
            "log.jsonl, line 2, column score: expected a number, or nothing for a missing one, "
            "found 'high'",
        ),
        (
            "log.jsonl",
            f"{json.dumps(statement(timestamp=None))}\n",
            "log.jsonl: expected 'timestamp', 'stored' in events, found the columns actor, ",
        ),
        ("log.jsonl", f"{GOOD}\n{GOOD[:-9]}\n", "log.jsonl, line 2: expected a JSON object in"),
        ("log.jsonl", f"[{GOOD}]\n", "or let the file's name end in .json"),
        ("log.json", f"[{GOOD}, ", "record 2: expected JSON objects in UTF-8, in an array or one"),
        (
            "log.csv",
            "learner_id,unit_id,time\nanna,algebra,2026-01-05\n",
            "in events, found the columns learner_id, unit_id, time; is data.format right? "
            "data.mapping says where values are found",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    name: str, text: str, problem: str, tmp_path: Path
) -> None:
    assert any(problem in found for found in refused(tmp_path, name, text))


def test_a_folder_of_json_files_is_named_by_a_pattern(tmp_path: Path) -> None:
    found = refused(tmp_path, "log/1.json", GOOD, events=str(tmp_path / "log"))
    assert "JSON by a path or pattern that ends in .json, found 1.json" in found[0]
