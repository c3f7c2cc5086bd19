"""What follows a scoring: each receiver is told once, and who is left out is off the board."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from components.contracts.left_out import LeftOutList
from serving.answers.after_scoring import follow_up, withdraw
from serving.answers.scoring.run import score
from serving.answers.scoring.versions import PushedVersion
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Answer, CurrentAnswer, Learner, Message, Table, UnitSum
from tests.serving.answers.scoring.conftest import at, options

SETTINGS = AnswersSettings.model_validate(
    {
        "channels": {"teachers": {"kind": "file", "path": "teachers.jsonl"}},
        "alerts": {"rules": [{"name": "all", "when": "need >= 0", "to": ["teachers"]}]},
    }
)


def count(engine: Engine, table: type[Table], *conditions: object) -> int:
    with Session(engine) as session:
        rows = select(func.count()).select_from(table).where(*conditions)  # type: ignore[arg-type]
        return session.scalar(rows) or 0


def test_each_receiver_is_told_once(
    database: Engine, database_url: str, version: PushedVersion, log: Path
) -> None:
    moment = at(days=5)
    score(database_url, version, options(log, [moment]))
    told = follow_up(database, SETTINGS, version, [moment], moment)
    assert len(told[0].decision.told) == 9  # learners, each once
    messages = count(database, Message)
    assert messages > 0

    follow_up(database, SETTINGS, version, [moment], moment)
    assert count(database, Message) == messages


def test_who_opts_out_leaves_the_board(
    database: Engine, database_url: str, version: PushedVersion, log: Path, tmp_path: Path
) -> None:
    score(database_url, version, options(log, [at(days=5)]))
    assert count(database, CurrentAnswer, CurrentAnswer.learner_id == "l4") == 2
    assert withdraw(database, version) == 0

    listed = LeftOutList.empty().adding(["l4"], "opted out").write(tmp_path)
    without = version.leaving_out(str(listed))
    score(database_url, without, options(log, [at(days=6)]))
    assert withdraw(database, without) == 1
    assert count(database, CurrentAnswer, CurrentAnswer.learner_id == "l4") == 0
    assert count(database, Learner, Learner.learner_id == "l4", Learner.units > 0) == 0
    assert count(database, Answer, Answer.learner_id == "l4", Answer.as_of == at(days=6)) == 0
    assert count(database, Answer, Answer.learner_id == "l4") == 2  # from before
    with Session(database) as session:
        sums = sum(row.answers for row in session.scalars(select(UnitSum)))
    assert sums == count(database, CurrentAnswer)

    told = follow_up(database, SETTINGS, without, [at(days=6)], at(days=6))
    assert "l4" not in {item.learner_id for item in told[0].decision.told}


@pytest.mark.parametrize("reason", ["opted out", "erased"])
def test_a_list_of_nobody_in_the_log_changes_nothing(
    database: Engine,
    database_url: str,
    version: PushedVersion,
    log: Path,
    tmp_path: Path,
    reason: str,
) -> None:
    score(database_url, version, options(log, [at(days=5)]))
    listed = LeftOutList.empty().adding(["somebody"], reason).write(tmp_path)  # type: ignore[arg-type]
    before = count(database, CurrentAnswer)
    assert withdraw(database, version.leaving_out(str(listed))) == 0
    assert count(database, CurrentAnswer) == before
