"""`mastery answers send`, `outbox` and `retry`, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.answers.database import open_database
from tests.pipeline.cli.typed import mastery
from tests.serving.answers.delivery.http_receiver import answer, http_receiver, in_turn
from tests.serving.answers.delivery.messages import put


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with two messages for one channel, and one for a channel that nobody has."""
    address = f"sqlite:///{tmp_path}/answers.db"
    engine = open_database(address)
    put(engine, "team", "a", "b")
    put(engine, "gone", "c")
    engine.dispose()
    return address


def test_what_was_given_up_is_said_listed_and_tried_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with http_receiver(in_turn(answer(403), answer(200))) as team:
        file = tmp_path / "answers.yaml"
        file.write_text(f"channels: {{team: {{kind: webhook, url: '{team.url}'}}}}")
        options = ("--db", url, "--answers", str(file))
        assert mastery(monkeypatch, "answers", "send", *options) == 1
        assert capsys.readouterr().out.splitlines() == [
            "team: 1 sent",
            "team: a given up (attempt 1: expected an answer 2xx, found 403 Forbidden)",
            "gone: the settings have no such channel; its messages wait",
        ]

        assert mastery(monkeypatch, "answers", "outbox", "--db", url) == 0
        listed = capsys.readouterr().out
        assert "team: 0 waiting, 1 given up" in listed
        assert "team: a\n  given up, 1 attempts: expected an answer 2xx, found 403" in listed
        assert mastery(monkeypatch, "answers", "outbox", "--db", url, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["channels"]["gone"] == {"waiting": 1, "given_up": 0}
        assert [message["key"] for message in found["messages"]] == ["a", "c"]

        assert mastery(monkeypatch, "answers", "retry", "--channel", "team", "--db", url) == 0
        assert capsys.readouterr().out == "1 message is due again.\n"
        assert mastery(monkeypatch, "answers", "retry", "--all", "--db", url) == 1
        mastery(monkeypatch, "answers", "send", *options)
        assert "team: 1 sent" in capsys.readouterr().out


def test_nothing_to_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/answers.db"
    assert mastery(monkeypatch, "answers", "send", "--db", url) == 2
    assert "expected the answers' database, found no such file" in capsys.readouterr().err
    open_database(url).dispose()
    assert mastery(monkeypatch, "answers", "send", "--db", url) == 0
    assert capsys.readouterr().out == "Nothing is due.\n"
    assert mastery(monkeypatch, "answers", "outbox", "--db", url) == 0
    assert capsys.readouterr().out == "Every message has arrived.\n"


@pytest.mark.parametrize("options", [[], ["a", "--all"], ["--channel", "team", "--all"]])
def test_retry_wants_to_know_which(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:  # fmt: skip
    assert mastery(monkeypatch, "answers", "retry", *options, "--db", url) == 2
    assert "expected a KEY, --channel NAME or --all." in capsys.readouterr().err


def test_a_wrong_setting_is_one_error(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text("channels:\n  team:\n    kind: webhook\n    form: slak\n    url_env: HOOK\n")
    assert mastery(monkeypatch, "answers", "send", "--db", url, "--answers", str(file)) == 2
    assert capsys.readouterr().err == (
        f"mastery: {file}, line 4, channels.team.form: expected 'slack', 'teams', 'mattermost' or "
        "'json', found 'slak'; did you mean slack?\n"
    )
