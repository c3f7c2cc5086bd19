"""The configurations of public sets read files of the published shape; one of them runs."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.config import Config, load_config
from components.config.emotions import emotion_in
from components.errors import LogError
from components.event_log.log import check_log
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from tests.configs.public_sets import ASSISTMENTS, LEARNERS, WRITERS

CONFIGS = Path(__file__).parents[2] / "configs"

Set = Callable[[str], Config]


@pytest.fixture
def public_set(tmp_path: Path) -> Set:
    """Returns a function that writes a set and loads its configuration, as users have both."""

    def load(name: str) -> Config:
        WRITERS[name](tmp_path / "data")
        (tmp_path / "configs").mkdir(exist_ok=True)
        shutil.copy(CONFIGS / f"{name}.yaml", tmp_path / "configs")
        return load_config(tmp_path / "configs" / f"{name}.yaml", ["data.min_class_examples=1"])

    return load


def rows_of(config: Config, path: Path, *columns: str) -> list[tuple[object, ...]]:
    chunks = read_chunks(
        LogFile(str(path), "csv", 0), columns, config.data.event_mapping, config.data.csv
    )
    return [row for chunk in chunks for row in chunk.frame.select(columns).rows()]  # type: ignore[union-attr]


def test_oulad(public_set: Set, tmp_path: Path) -> None:
    config = public_set("oulad")
    summary = check_log(config)
    assert (summary.learners, summary.units, summary.outcomes) == (LEARNERS, 1, LEARNERS * 5)
    assert summary.events == LEARNERS * 14 - 1  # twelve days of clicks, two results
    assert summary.first_event.startswith("-")  # days before the course began
    [banked] = summary.warnings
    assert banked.startswith("records left out, results of an earlier presentation: 1, such as")
    classes = {name for split in summary.splits.values() for name in split}
    assert classes == {"withdrawn", "failed", "passed"}

    columns = ("learner_id", "unit_id", "time", "event_type", "component", "score")
    results = rows_of(config, tmp_path / "data/oulad/studentAssessment.csv", *columns)
    assert results[0][:5] == ("11391", "AAA-2013J", "18", "assignment", "1752")
    assert 0 <= float(str(results[0][5])) < 1
    assert results[14][5] is None  # "?" for the result of the eighth student's second
    clicks = rows_of(config, tmp_path / "data/oulad/studentVle.csv", *columns)
    assert {row[3] for row in clicks} == {"reading", "forum", "url", "quiz"}


def test_ednet(public_set: Set, tmp_path: Path) -> None:
    config = public_set("ednet")
    summary = check_log(config)
    assert (summary.learners, summary.units) == (LEARNERS, 2)
    assert summary.events == LEARNERS * 60
    path = tmp_path / "data/ednet/KT1/u7.csv"
    given = [*csv.DictReader(path.read_text(encoding="utf-8").splitlines())][2]
    number = int(given["question_id"][1:])
    columns = ("learner_id", "unit_id", "component", "tags", "correct", "dwell_seconds")
    assert rows_of(config, path, *columns)[2] == (
        "u7",
        f"part-{1 + number % 2}",
        given["question_id"],
        str(number),
        str(int(given["user_answer"] == "abcd"[number % 4])),
        str(int(given["elapsed_time"]) / 1000),
    )


def test_assistments(public_set: Set) -> None:
    config = public_set("assistments")
    summary = check_log(config)
    assert (summary.learners, summary.units) == (LEARNERS, 2)
    assert summary.outcomes == LEARNERS * 2 * 3
    assert summary.events == LEARNERS * 2 * 25
    assert summary.warnings == [
        next(text for text in summary.warnings if text.startswith("records left out, without a un"))
    ]


@pytest.mark.parametrize("name", WRITERS)
def test_no_emotion_is_read(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    mapping = config.data.event_mapping
    assert mapping is not None
    paths = [path for _, source in mapping.every_source for path in source.value_paths]
    assert not [path for path in [*mapping.columns, *paths] if emotion_in(path)]


def _mapped(tmp_path: Path, name: str, header: str, line: str, *settings: str) -> dict[str, object]:
    """Returns the event that a line of another set becomes with changes of a configuration."""
    path = tmp_path / "u12.csv"
    path.write_text(f"{header}\n{line}\n", encoding="utf-8")
    config = load_config(CONFIGS / f"{name}.yaml", settings)
    mapping = config.data.event_mapping
    assert mapping is not None
    columns = [*mapping.columns]
    [row] = rows_of(config, path, *columns)
    return {name: value for name, value in zip(columns, row, strict=True) if value is not None}


@pytest.mark.parametrize(
    ("action", "correct"), [("respond,q3,sprint,d", "1"), ("respond,q3,sprint,a", "0")]
)
def test_the_actions_of_ednet(tmp_path: Path, action: str, correct: str) -> None:
    WRITERS["ednet"](tmp_path / "data")
    event = _mapped(
        tmp_path,
        "ednet",
        "timestamp,action_type,item_id,source,user_answer,platform,cursor_time",
        f"1565096190868,{action},mobile,",
        f"data.lookups.questions.table={tmp_path}/data/ednet/contents/questions.csv",
        "data.lookups.questions.path=item_id",
        "data.mapping.event_type=action_type",
        "data.mapping.component=item_id",
        "data.mapping.correct={from: user_answer, equals: lookups.questions.correct_answer, "
        "when: {action_type: [respond]}}",
    )
    assert event == {
        "learner_id": "u12",
        "unit_id": "part-2",
        "time": "1565096190868",
        "event_type": "respond",
        "component": "q3",
        "tags": "3",
        "correct": correct,
    }


@pytest.mark.parametrize(
    ("header", "line", "settings", "event"),
    [
        (
            "user_id,skill_id,start_time,correct,problem_id,attempt_count,hint_count,"
            "ms_first_response,original,Average_confidence(BORED)",
            "7,12.0,2012-09-28 15:11:27.437,0.5,99,2,1,1500,1,0.7",
            ["data.mapping.time=start_time"],
            {"unit_id": "12.0", "time": "2012-09-28 15:11:27.437", "response_s": "1.5"},
        ),
        (
            "user_id,log_id,sequence_id,correct",
            "7,167478035,7014,1",
            [
                "data.mapping.time=log_id", "data.mapping.unit_id=sequence_id",
                "data.mapping.component=null", "data.mapping.attempts=null",
                "data.mapping.hints=null", "data.mapping.response_s=null",
            ],
            {"unit_id": "7014", "time": "167478035", "correct": "1"},
        ),
        (
            "studentId,skill,problemId,startTime,timeTaken,correct,original,attemptCount,hintCount",
            "7,properties-of-figures,950,1096470301,49,0,1,1,0",
            [
                "data.mapping.learner_id=studentId", "data.mapping.unit_id=skill",
                "data.mapping.time=startTime", "data.mapping.component=problemId",
                "data.mapping.attempts=attemptCount", "data.mapping.hints=hintCount",
                "data.mapping.response_s=timeTaken",
            ],
            {"unit_id": "properties-of-figures", "time": "1096470301", "response_s": "49"},
        ),
    ],
    ids=["2012", "2015", "2017"],
)  # fmt: skip
def test_assistments_of_other_years(
    tmp_path: Path, header: str, line: str, settings: list[str], event: dict[str, object]
) -> None:
    found = _mapped(tmp_path, "assistments", header, line, *settings)
    assert found["learner_id"] == "7"
    assert {name: found[name] for name in event} == event


def test_a_set_of_another_year_says_which_columns_it_has(public_set: Set, tmp_path: Path) -> None:
    config = public_set("assistments")
    path = tmp_path / "data/assistments/skill_builder_data.csv"
    text = path.read_text(encoding="latin-1")
    path.write_text(text.replace("opportunity", "chance"), encoding="latin-1")
    with pytest.raises(LogError) as caught:
        check_log(config)
    [problem] = caught.value.problems
    assert "expected 'opportunity' in events, found the columns order_id, assig" in problem


def test_the_published_columns_are_those_of_the_file(public_set: Set, tmp_path: Path) -> None:
    public_set("assistments")
    with (tmp_path / "data/assistments/skill_builder_data.csv").open(encoding="latin-1") as file:
        assert file.readline().strip().split(",") == [*ASSISTMENTS]
