"""The command line: quick to start, and errors without tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main as command_line

REPOSITORY = Path(__file__).parents[3]
HEAVY = {"tensorflow", "tfx", "apache_beam", "polars", "pyarrow", "numpy", "pydantic", "yaml", "rich", "jinja2"}


def failing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mastery", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, pipeline.cli.main; print(sorted({HEAVY!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


KUBEFLOW = ["kubeflow compile", "kubeflow submit", "kubeflow run", "kubeflow list", "kubeflow schedule --pause"]


@pytest.mark.parametrize("command", ["run", "check-log", "schema infer", "schema diff", *KUBEFLOW])
def test_a_wrong_path_is_an_error_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    code, text = failing(monkeypatch, capsys, *command.split(), "--config", str(tmp_path / "absent.yaml"))
    assert code == 2
    assert text.startswith("mastery: ")
    assert "absent.yaml: expected a configuration file, found none" in text


def test_a_missing_log_is_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent, root = tmp_path / "absent.parquet", tmp_path / "runs"
    config = ["--config", str(REPOSITORY / "configs" / "sample.yaml"), "--set", f"data.events={absent}"]
    code, text = failing(monkeypatch, capsys, "run", *config, "--root", str(root))
    assert code == 2
    assert f"{absent}: expected a file or folder of events" in text
    assert not root.exists()


def test_a_folder_without_a_model_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = failing(
        monkeypatch, capsys, "evaluate", "--model", str(tmp_path), "--events", "e.csv", "--outcomes", "o.csv"
    )
    assert code == 2
    assert f"--model {tmp_path}: expected a pushed version" in text


def test_no_report_yet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = failing(monkeypatch, capsys, "report", "--root", str(tmp_path))
    assert code == 2
    assert "expected a run with a report" in text


def test_runs_of_an_empty_root_are_an_empty_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["mastery", "runs", "--json", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out) == []
