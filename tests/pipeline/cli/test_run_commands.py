"""`mastery run`, `report`, `ci` and `notify`, before anything is trained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.cli import main as command_line
from pipeline.run import notify as delivery
from tests.pipeline.receivers import webhook

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"


def mastery(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mastery", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return int(ended.value.code or 0)


def test_a_test_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with webhook() as chat:
        options = ["notify", "--config", str(CONFIG), "--set", f"notify.webhook.url={chat.url}"]
        assert mastery(monkeypatch, *options, "--test") == 0
        assert capsys.readouterr().out == "Sent a test message by webhook.\n"
        assert mastery(monkeypatch, *options) == 2
    [sent] = chat.received
    assert sent["text"].startswith("Mastery, sample: this is a test\n")


def test_a_test_message_that_does_not_arrive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "PAUSES", ())
    with webhook(500) as chat:
        code = mastery(
            monkeypatch,
            "notify",
            "--config",
            str(CONFIG),
            "--test",
            "--set",
            f"notify.webhook.url={chat.url}",
        )
    assert code == 2
    assert "mastery: notify.webhook: expected an answer 2xx, found 500" in capsys.readouterr().err


def test_nowhere_to_send_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mastery(monkeypatch, "notify", "--config", str(CONFIG), "--test") == 2
    assert "expected notify.webhook or notify.email, found neither" in capsys.readouterr().err


def test_a_run_that_cannot_start_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with webhook() as chat:
        options = [
            "--config",
            str(CONFIG),
            "--root",
            str(tmp_path),
            "--set",
            f"notify.webhook.url={chat.url}",
        ]
        dated = f"data.events={tmp_path}/{{YYYY}}-{{MM}}-{{DD}}/events.csv"
        code = mastery(monkeypatch, "run", *options, "--set", dated, "--span", "last:7")
    assert code == 2
    [sent] = chat.received
    assert (sent["state"], sent["run"]) == ("failed", None)
    assert "expected files that match" in sent["error"]
    assert "expected files that match" in capsys.readouterr().err


def test_only_new_data_does_not_go_with_nodes_to_execute_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["run", "--config", str(CONFIG), "--root", str(tmp_path), "--only-new-data"]
    for anew in (["--no-cache"], ["--from", "Trainer"]):
        assert mastery(monkeypatch, *options, *anew) == 2
        assert "--only-new-data cannot be combined with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--baseline", "nowhere"], "--baseline nowhere: expected a pushed version"),
        (["--set", "ci.learners=0"], "ci.learners: expected at least 1, found 0"),
        (["--set", "data.events=nowhere.csv"], "nowhere.csv: expected a file or folder of events"),
    ],
)
def test_a_small_training_that_cannot_start_leaves_no_results(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert mastery(monkeypatch, "ci", "--config", str(CONFIG), *options) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "ci").exists()
