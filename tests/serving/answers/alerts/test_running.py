"""Runs of rules that are killed, that happen at the same time, and as people start them."""

from __future__ import annotations

import json
import mailbox
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine

from serving.answers.alerts import evaluation
from serving.answers.alerts.evaluation import run_alerts
from serving.answers.database import open_database
from serving.answers.delivery.channels import receiver_of
from serving.answers.delivery.sender import send_due
from serving.answers.settings import load_settings
from tests.pipeline.cli.typed import mastery
from tests.serving.answers.alerts.told import (
    MONDAY,
    alerts,
    learners,
    messages,
    score,
    settings_with,
)

LOWS = {(f"learner-{place}", "unit"): 0.5 + place / 10 for place in range(5)}
RULES: tuple[dict[str, object], ...] = ({"digest": "per_learner", "to": ["mail", "file"]},
                                        {"name": "second"})  # fmt: skip

# Kills itself before the messages of the n-th rule are written, or after the last one.
KILLED = """
import json, os, signal, sys
from datetime import datetime
from serving.answers.alerts import evaluation
from serving.answers.database import open_database
from serving.answers.settings import AnswersSettings

url, settings, moment, deadly = sys.argv[1:]
written = 0

def enqueue_all(*arguments):
    global written
    if written == int(deadly):
        os.kill(os.getpid(), signal.SIGKILL)
    written += 1
    return original(*arguments)

original, evaluation.enqueue_all = evaluation.enqueue_all, enqueue_all
evaluation.run_alerts(
    open_database(url), AnswersSettings.model_validate(json.loads(settings)),
    datetime.fromisoformat(moment),
)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("deadly", [0, 1, 99])  # in the first rule, in the second, after both
def test_a_run_that_is_killed_is_repeated_and_tells_everybody_once(
    database: Engine, database_url: str, deadly: int
) -> None:
    score(database, LOWS)
    settings = settings_with(*RULES)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, database_url, settings.model_dump_json(),
         MONDAY.isoformat(), str(deadly)],
        check=False, capture_output=True, text=True, cwd=Path(__file__).parents[4],
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(messages(database)) == {0: 0, 1: 10, 99: 11}[deadly]

    run_alerts(database, settings, MONDAY + timedelta(minutes=5))
    told = Counter(
        (message.channel, message.payload["rule"], name)
        for message in messages(database)
        for name in message.learner_ids
    )
    names = {name for name, _ in LOWS}
    assert told == Counter(
        (channel, rule, name)
        for channel, rule in (("mail", "call"), ("file", "call"), ("mail", "second"))
        for name in names
    )
    remembered = Counter((alert.rule, alert.learner_id) for alert in alerts(database))
    assert remembered == Counter((rule, name) for rule in ("call", "second") for name in names)


def test_of_two_runs_at_once_the_second_waits_and_tells_nobody_again(
    database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(database, LOWS)
    settings = settings_with({"capacity": "3 per week"})
    is_deciding, may_go_on = threading.Event(), threading.Event()
    original = evaluation.write_notices

    def slow(*arguments):  # type: ignore[no-untyped-def]
        if not is_deciding.is_set():
            is_deciding.set()
            assert may_go_on.wait(30)
        return original(*arguments)

    monkeypatch.setattr(evaluation, "write_notices", slow)
    told: dict[str, list[str]] = {}

    def run(name: str) -> None:
        engine = open_database(database_url)
        (call,) = run_alerts(engine, settings, MONDAY)
        told[name] = learners(call)
        engine.dispose()

    first = threading.Thread(target=run, args=["first"])
    second = threading.Thread(target=run, args=["second"])
    first.start()
    assert is_deciding.wait(30)
    second.start()
    second.join(0.3)
    assert second.is_alive()
    may_go_on.set()
    first.join(30)
    second.join(30)

    assert told == {"first": ["learner-4", "learner-3", "learner-2"], "second": []}
    assert len(messages(database)) == 1


@pytest.fixture
def answers_file(tmp_path: Path) -> Path:
    """Settings with a mailbox and a rule that waits for the morning."""
    path = tmp_path / "answers.yaml"
    path.write_text(yaml.safe_dump({
        "channels": {"teachers": {"kind": "file", "form": "mbox", "path": "teachers.mbox"}},
        "alerts": {
            "language": "de", "time_zone": "Europe/Berlin",
            "link": "https://board.example/learners/{learner_id}",
            "rules": [{"name": "call", "when": "p(low) >= 0.7", "to": ["teachers"],
                       "capacity": "2 per week", "quiet_hours": "20:00-07:00"}],
        },
    }))  # fmt: skip
    return path


def test_what_a_rule_tells_arrives_in_a_mailbox(
    database: Engine, database_url: str, answers_file: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    score(database, LOWS)
    options = ["--db", database_url, "--answers", str(answers_file), "--as-of", "2026-03-02T21:00"]

    assert mastery(monkeypatch, "alerts", "test", *options) == 0
    assert capsys.readouterr().out == (
        "call: would tell teachers about 2 learners in 1 message, held by quiet hours until "
        "2026-03-03 07:00 CET\n"
        "  learner-4, unit: very likely low, 90%\n"
        "  learner-3, unit: likely low, 80%\n"
        "  not told: 1 (capacity)\n"
        "    learner-2, unit\n"
    )
    assert messages(database) == []

    assert mastery(monkeypatch, "alerts", "run", *options, "--json") == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert [item["learner_id"] for item in printed["told"]] == ["learner-4", "learner-3"]
    assert printed["not_told"] == {"capacity": 1}
    assert mastery(monkeypatch, "alerts", "run", *options) == 0
    assert capsys.readouterr().out == (
        "call: told teachers about 0 learners in 0 messages\n"
        "  not told: 2 (cool-down)\n"
        "  not told: 1 (capacity)\n"
    )

    settings = load_settings(answers_file)
    receivers = {"teachers": receiver_of(settings.channels["teachers"])}
    morning = datetime.fromisoformat("2026-03-03T07:00+01:00")
    for moment, sent in ((morning - timedelta(seconds=1), {}), (morning, {"teachers": 1})):
        report = send_due(database, receivers, settings.delivery, clock=lambda now=moment: now)  # type: ignore[misc]
        assert report.sent == sent
    with closing(mailbox.mbox(answers_file.parent / "teachers.mbox", create=False)) as box:
        (mail,) = box
    assert "call: 2 Lernende" in str(mail["Subject"])
    body = next(part for part in mail.walk() if part.get_content_type() == "text/plain")
    text = bytes(body.get_payload(decode=True)).decode()  # type: ignore[arg-type]
    assert "sehr wahrscheinlich niedrig, 90\N{NO-BREAK SPACE}%" in text
    assert "https://board.example/learners/learner-4" in text


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--as-of", "soon"], "--as-of: expected a time such as 2026-03-02T06:00, found 'soon'."),
        (["--rule", "cal"], "expected the name of a rule (call), found cal; did you mean call?"),
    ],
)
def test_what_cannot_be_run_is_one_clear_error(
    arguments: list[str], printed: str, answers_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    open_database(f"{tmp_path}/answers.db").dispose()
    options = ["--db", f"{tmp_path}/answers.db", "--answers", str(answers_file)]
    assert mastery(monkeypatch, "alerts", "test", *options, *arguments) == 2
    assert printed in capsys.readouterr().err
