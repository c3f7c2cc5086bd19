"""`mastery run`, `report`, `evaluate`, `ci` and `notify`, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.config import Config
from components.contracts.evaluation import Evaluation
from components.contracts.run_record import RunRecord
from pipeline.run import notify as delivery
from tests.pipeline.cli.typed import mastery
from tests.pipeline.receivers import webhook

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"


def test_a_test_message_is_sent_by_webhook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with webhook() as chat:
        options = ["notify", "--config", str(CONFIG), "--set", f"notify.webhook.url={chat.url}"]
        assert mastery(monkeypatch, *options, "--test") == 0
        assert capsys.readouterr().out == "Sent a test message by webhook.\n"
        assert mastery(monkeypatch, *options) == 2
    [sent] = chat.received
    assert sent["text"].startswith("Mastery, sample: this is a test\n")


def test_a_test_message_that_cannot_be_delivered_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "PAUSES", ())
    with webhook(500) as chat:
        options = ["notify", "--config", str(CONFIG), "--set", f"notify.webhook.url={chat.url}"]
        code = mastery(monkeypatch, *options, "--test")
    assert code == 2
    assert "mastery: notify.webhook: expected an answer 2xx, found 500" in capsys.readouterr().err


def test_without_a_configured_receiver_notify_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mastery(monkeypatch, "notify", "--config", str(CONFIG), "--test") == 2
    assert "expected notify.webhook or notify.email, found neither" in capsys.readouterr().err


def test_a_run_that_cannot_start_is_notified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with webhook() as chat:
        options = ["--config", str(CONFIG), "--root", str(tmp_path)]
        options += ["--set", f"notify.webhook.url={chat.url}"]
        dated = f"data.events={tmp_path}/{{YYYY}}-{{MM}}-{{DD}}/events.csv"
        code = mastery(monkeypatch, "run", *options, "--set", dated, "--span", "last:7")
    assert code == 2
    [sent] = chat.received
    assert (sent["state"], sent["run"]) == ("failed", None)
    assert "expected files that match" in sent["error"]
    assert "expected files that match" in capsys.readouterr().err


def test_only_new_data_cannot_be_combined_with_nodes_to_execute_anew(
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


def ended(state: str = "passed", **changes: object) -> RunRecord:
    values = {"run": "20261120-a", "name": "sample", "state": state, "started": "2026-11-20T08:00Z"}
    return RunRecord.model_validate({**values, **changes})


def test_a_run_gets_its_options_and_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def run_pipeline(config: Config, root: Path, **options: Any) -> RunRecord:
        asked.update(options, span=config.data.span, root=root)
        return ended("gates failed", report=f"{root}/report.html")

    monkeypatch.setattr("pipeline.run.local.run_pipeline", run_pipeline)
    numbered = [f"--set=data.{table}=log/{{SPAN}}/a.csv" for table in ("events", "outcomes")]
    options = ["--from", "Trainer", "--to", "Pusher", "--no-cache", "--only-new-data"]
    where = ["--config", str(CONFIG), "--root", str(tmp_path), "--span", "42"]
    assert mastery(monkeypatch, "run", *where, *numbered, *options) == 1
    asked.pop("console")
    assert asked == {
        "use_cache": False, "from_node": "Trainer", "to_node": "Pusher", "only_new_data": True,
        "span": "42", "root": tmp_path,
    }  # fmt: skip
    assert f"{tmp_path}/report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metrics", "written"),
    [("metrics.json", "summary.md, junit.xml, metrics.json"), (None, "summary.md, junit.xml")],
)
def test_a_small_training_lists_what_it_has_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    metrics: str | None,
    written: str,
) -> None:
    def train_small(*_: object, **__: object) -> RunRecord:
        return ended(metrics=metrics)

    monkeypatch.setattr("pipeline.ci.small_training.train_small", train_small)
    monkeypatch.setattr("pipeline.run.display.print_summary", lambda *_: None)
    monkeypatch.setattr("pipeline.run.notify.notification_of", lambda _: None)
    monkeypatch.setattr("pipeline.run.notify.notify", lambda *_: None)
    assert mastery(monkeypatch, "ci", "--config", str(CONFIG)) == 0
    assert capsys.readouterr().out == f"Written  ci/{written}\n"


def test_metrics_of_another_log_are_json_or_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    values = {"task": "regression", "overall": {"examples": 9, "metrics": {"rmse": 0.25}}}
    evaluation = Evaluation.model_validate(values)
    monkeypatch.setattr("pipeline.evaluate_log.evaluate_log", lambda *_: evaluation)
    monkeypatch.setattr("pipeline.run.display.print_metrics", printed.append)

    options = ["evaluate", "--model", "m", "--events", "e.csv", "--outcomes", "o.csv"]
    assert mastery(monkeypatch, *options, "--json") == 0
    assert json.loads(capsys.readouterr().out) == values
    assert mastery(monkeypatch, *options) == 0
    assert printed == [evaluation]


def write_record(root: Path, run: str, report: str | None) -> None:
    folder = root / "sample" / "runs" / run
    folder.mkdir(parents=True)
    ended(run=run, report=report).write(folder)


def test_the_latest_report_is_printed_and_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    for run, report in (("20261119-a", "a.html"), ("20261120-b", "b.html"), ("20261121-c", None)):
        write_record(tmp_path, run, report)

    root = ["--root", str(tmp_path)]
    assert mastery(monkeypatch, "report", *root) == 0
    assert mastery(monkeypatch, "report", "20261119-a", "--open", *root) == 0
    assert capsys.readouterr().out == "b.html\na.html\n"
    assert opened == ["a.html"]

    assert mastery(monkeypatch, "report", "20261119-b", *root) == 2
    assert capsys.readouterr().err == (
        f"mastery: expected run 20261119-b with a report below {tmp_path}, found none; "
        "did you mean 20261119-a? `mastery runs` lists all runs.\n"
    )
