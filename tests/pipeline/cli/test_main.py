"""The command line: quick to start, and errors without tracebacks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer

from pipeline.cli import main as command_line

REPOSITORY = Path(__file__).parents[3]
HEAVY = {
    "tensorflow",
    "tfx",
    "apache_beam",
    "polars",
    "pyarrow",
    "numpy",
    "pydantic",
    "yaml",
    "rich",
    "jinja2",
}


def failing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mastery", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, pipeline.cli.main; print(sorted({HEAVY!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


KUBEFLOW = [
    "kubeflow compile",
    "kubeflow submit",
    "kubeflow run",
    "kubeflow list",
    "kubeflow schedule --pause",
]


@pytest.mark.parametrize("command", ["run", "check-log", "schema infer", "schema diff", *KUBEFLOW])
def test_a_wrong_path_is_an_error_for_people(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
) -> None:
    code, text = failing(
        monkeypatch, capsys, *command.split(), "--config", str(tmp_path / "absent.yaml")
    )
    assert code == 2
    assert text.startswith("mastery: ")
    assert "absent.yaml: expected a configuration file, found none" in text


def test_a_missing_log_is_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent, root = tmp_path / "absent.parquet", tmp_path / "runs"
    config = [
        "--config",
        str(REPOSITORY / "configs" / "sample.yaml"),
        "--set",
        f"data.events={absent}",
    ]
    code, text = failing(monkeypatch, capsys, "run", *config, "--root", str(root))
    assert code == 2
    assert f"{absent}: expected a file or folder of events" in text
    assert not root.exists()


def test_a_folder_without_a_model_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = failing(
        monkeypatch,
        capsys,
        "evaluate",
        "--model",
        str(tmp_path),
        "--events",
        "e.csv",
        "--outcomes",
        "o.csv",
    )
    assert code == 2
    assert f"--model {tmp_path}: expected a pushed version" in text


def test_no_report_yet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
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


def record_run(root: Path, name: str, number: int) -> str:
    run = f"2026112{number}-061344-36ea9{number}"
    folder = root / name / "runs" / run
    folder.mkdir(parents=True)
    pushed = f"{root}/{name}/serving/179532817{number}"
    record = {
        "run": run,
        "name": name,
        "state": "gates failed",
        "started": "2026-11-22T06:13:44Z",
        "seconds": 1234.5,
    }
    (folder / "run.json").write_text(
        json.dumps({**record, "pushed_version": pushed, "report": f"{root}/r.html"})
    )
    return run


@pytest.mark.parametrize("columns", [80, 120])
def test_runs_and_versions_are_whole_on_a_terminal(tmp_path: Path, columns: int) -> None:
    runs = [record_run(tmp_path, "a" * 63, number) for number in range(3)]
    command = [sys.executable, "-m", "pipeline.cli.main", "runs", "--root", str(tmp_path)]
    shown = on_a_terminal(command, columns)
    for number, run in enumerate(runs):
        assert f" {run} " in shown
        assert f" 179532817{number} " in shown
    assert max(map(len, shown.splitlines())) <= columns


def test_runs_are_whole_in_a_pipe(tmp_path: Path) -> None:
    run = record_run(tmp_path, "a" * 63, 1)
    command = [sys.executable, "-m", "pipeline.cli.main", "runs", "--root", str(tmp_path)]
    piped = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout
    assert f" {run} │ {'a' * 63} │ gates failed │" in piped


def on_a_terminal(command: list[str], columns: int) -> str:
    """Returns what a command prints on a terminal of so many columns, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {
        "TERM": "xterm"
    }
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=REPOSITORY, env=environment
    ) as run:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody is there any more
            while part := os.read(ours, 65536):
                shown += part
    os.close(ours)
    assert run.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def test_a_record_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = record_run(tmp_path, "algebra", 1)
    file = tmp_path / "algebra" / "runs" / run / "run.json"
    file.write_text("{")
    code, text = failing(monkeypatch, capsys, "runs", "--root", str(tmp_path))
    assert code == 2
    assert f"{file}: expected run.json of Mastery; Invalid JSON" in text
    assert "remove its folder" in text


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "mastery: interrupted."),
        (
            EOFError("Compressed file ended"),
            2,
            "mastery: unexpected EOFError: Compressed file ended. The details are in",
        ),
        (KeyError("x"), 2, "mastery: unexpected KeyError: 'x'. The details are in"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (
            OSError(28, "No space left on device", "/x"),
            2,
            "mastery: /x: no space left on device. Make room there",
        ),
    ],
)
def test_an_error_inside_of_a_command_ends_in_words(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: BaseException,
    code: int,
    says: str,
) -> None:
    def raise_it(_: Path) -> None:
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("pipeline.run.record.read_records", raise_it)
    found, text = failing(monkeypatch, capsys, "runs")
    assert found == code
    assert text.startswith(says)
    assert "Traceback" not in text


def test_a_reader_that_goes_away_is_no_failed_gate(tmp_path: Path) -> None:
    for number in range(9):
        record_run(tmp_path, "algebra", number)
    command = f"{sys.executable} -m pipeline.cli.main runs --json --root {tmp_path} | true; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert ran.stdout.strip() in ("141", "0")  # 0: all of it was in the pipe before its reader went
    assert ran.stderr == ""


def test_a_named_pipe_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    code, text = failing(monkeypatch, capsys, "check-log", "--config", str(tmp_path / "pipe.yaml"))
    assert code == 2
    assert "pipe.yaml: expected a configuration file, found something else" in text


@pytest.mark.parametrize("name", ["*", "?", "a[b]", "a\\b"])
def test_a_root_that_is_a_pattern_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    for table in ("events", "outcomes"):
        (tmp_path / f"{table}.csv").write_text("a\n1\n")
    config = [
        "--config",
        str(REPOSITORY / "configs" / "sample.yaml"),
        "--root",
        str(tmp_path / name),
    ]
    tables = [
        part
        for table in ("events", "outcomes")
        for part in ("--set", f"data.{table}={tmp_path}/{table}.csv")
    ]
    code, text = failing(monkeypatch, capsys, "run", *config, *tables)
    assert code == 2
    assert "expected a path without" in text
    assert not (tmp_path / name).exists()


def float_options() -> list[str]:
    """Every option of a command that is a number with a point, as `serve --poll-seconds`."""
    found = []
    commands: list[Any] = [typer.main.get_command(command_line.app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        hints = get_type_hints(command.callback, include_extras=True) if command.callback else {}
        found += [
            f"{command.name} {next(iter(option.param_decls), option.default)}"
            for hint in hints.values()
            if get_origin(hint) is Annotated
            and float in (hint.__origin__, *get_args(hint.__origin__))
            for option in hint.__metadata__
        ]
    return found


@pytest.mark.parametrize("option", float_options())
@pytest.mark.parametrize("value", ["nan", "inf", "1e400"])
def test_no_number_of_an_option_is_infinite_or_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    code, text = failing(monkeypatch, capsys, *option.split(), value)
    assert code == 2
    assert "expected a finite number" in text or "greater than" in text
