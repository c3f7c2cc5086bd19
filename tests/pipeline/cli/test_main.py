"""The command line: it starts quickly, and its errors have no tracebacks."""

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
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer

from components.contracts.run_record import RunRecord
from pipeline.cli import main as command_line
from tests.pipeline.cli.typed import mastery
from tests.serving.models.folders import write_version

REPOSITORY = Path(__file__).parents[3]
HEAVY = {
    "apache_beam", "fsspec", "grpc", "jinja2", "kfp", "numpy", "polars", "pyarrow", "pydantic",
    "rich", "tensorflow", "tfx", "yaml",
}  # fmt: skip


def failing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    return mastery(monkeypatch, *arguments), capsys.readouterr().err


def test_no_help_imports_anything_heavy() -> None:
    paths = ["", *command_line.GROUPS, *command_line.COMMANDS]
    code = f"""
import contextlib, io, sys
from pipeline.cli import main
for path in {paths!r}:
    sys.argv = ["mastery", *path.split(), "--help"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main.main()
    print(path, sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert ran.stderr.splitlines() == [f"{path} []" for path in paths]


@pytest.mark.parametrize("command", ["runs", "doctor"])
def test_a_command_that_answers_at_once_imports_no_heavy_library(
    command: str, tmp_path: Path
) -> None:
    arguments = [command, "--root", str(tmp_path)] if command == "runs" else [command]
    record = RunRecord(
        run="20261126-214016-319ab9", name="sample", state="passed", started=datetime.now(UTC)
    )
    record.write(tmp_path / "sample" / "runs" / record.run)
    needed = {"rich", "yaml", "pydantic", "jinja2"}
    code = f"""
import contextlib, sys
from pipeline.cli import main
sys.argv = ["mastery", *{arguments!r}]
with contextlib.suppress(SystemExit):
    main.main()
print(sorted({HEAVY - needed!r} & set(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert ran.stdout
    assert ran.stderr.splitlines()[-1] == "[]"


def test_a_command_is_imported_when_it_is_called() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "sys.argv = ['mastery', 'runs', '--help']\n"
        "try: main.main()\n"
        "finally: print([m for m in sys.modules if m.endswith('_commands')], file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert ran.stderr.strip() == "['pipeline.cli.run_commands']"


def test_every_command_is_in_a_panel_and_has_an_example() -> None:
    listed = [name for names in command_line.PANELS.values() for name in names]
    assert sorted(listed) == sorted({path.split()[0] for path in command_line.COMMANDS})
    for path, command in every_command():
        summary, *_ = command.help.split("\n\n")
        assert len(summary) <= 78, path
        assert f"\b\nExample:\n    mastery {path}" in command.help
        assert all(param.help for param in command.params), path


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], ["\nPrepare:\n  doctor ", "\nTrain and judge:\n  run ", "\nServe:\n"]),
        (["models", "--help"], ["\nCommands:\n  list "]),
        (["serve", "--help"], ["\nOptions:\n  --models ", "\nSecurity:\n", "\nLimits:\n"]),
        (["report", "--help"], ["\nArguments:\n  [RUN] ", "\n  Example:\n      mastery report"]),
    ],
)  # fmt: skip
def test_help_comes_in_panels(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    shown: list[str],
) -> None:
    assert mastery(monkeypatch, *arguments) == 0
    text = capsys.readouterr().out
    assert [part for part in shown if part not in text] == []


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mastery(monkeypatch, "--version") == 0
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"mastery {project['version']}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "Error: No such command 'rnu'; did you mean run?\n"),
        (["models", "promot"], "Error: No such command 'promot'; did you mean promote?\n"),
        (["colour"], "Error: No such command 'colour'.\n"),
        (["run", "--confg", "a.yaml"], "Error: No such option: --confg; did you mean --config?\n"),
        (["models", "list", "--modles", "a"], "; did you mean --models?\n"),
        (["--versoin"], "Error: No such option: --versoin; did you mean --version?\n"),
        (["runs", "--colour"], "Error: No such option: --colour\n"),
        (["runs", "-x"], "Error: No such option: -x\n"),
    ],
)
def test_the_error_about_a_mistyped_command_or_option_suggests_another(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    code, text = failing(monkeypatch, capsys, *arguments)
    assert code == 2
    assert text.endswith(says)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with two runs and a serving folder of two versions."""
    for run in ("20261120-a", "20261121-b"):
        (tmp_path / "runs" / "sample" / "runs" / run).mkdir(parents=True)
    for number in (11, 12):
        write_version(tmp_path / "runs" / "sample" / "serving", number)
    return tmp_path


SAMPLE_SERVING = "--models runs/sample/serving"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mod", ["models"]),
        ("models rollb", ["rollback"]),
        ("run --only", ["--only-new-data"]),
        ("run --from Tr", ["Transform", "Trainer"]),
        ("run --to Push", ["Pusher"]),
        ("report 20", ["20261121-b", "20261120-a"]),
        ("report --root elsewhere 20", []),
        (f"models promote {SAMPLE_SERVING} ", ["12", "11"]),
        (f"models show --config {REPOSITORY}/configs/sample.yaml 1", ["12", "11"]),
        (f"models show {SAMPLE_SERVING} s", ["stable"]),
        ("models promote --models s3://bucket/a 1", []),
        ("models promote --config absent.yaml 1", []),
        ("models promote 1", []),
    ],
)
def test_the_shell_completes(work: Path, typed: str, offered: list[str]) -> None:
    words = ["mastery", *typed.split(" ")]
    ran = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main"],
        capture_output=True, text=True, check=True, cwd=work,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "_MASTERY_COMPLETE": "complete_bash",
             "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)},
    )  # fmt: skip
    assert (ran.stdout.split(), ran.stderr) == (offered, "")


def test_completion_is_installed_for_the_shell(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pipeline.cli.main --install-completion; true"
    ran = subprocess.run(
        ["bash", "--norc", "-c", command], capture_output=True, text=True, check=True,
        cwd=REPOSITORY, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "bash completion installed in" in ran.stdout
    [script] = tmp_path.glob(".bash_completions/mastery.sh")
    assert "_MASTERY_COMPLETE=complete_bash" in script.read_text()


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
    assert "absent.yaml: there is no such file; name a configuration file" in text


def test_a_missing_log_is_an_error_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent, root = tmp_path / "absent.parquet", tmp_path / "runs"
    config = ["--config", str(REPOSITORY / "configs" / "sample.yaml")]
    config += ["--set", f"data.events={absent}"]
    code, text = failing(monkeypatch, capsys, "run", *config, "--root", str(root))
    assert code == 2
    assert f"{absent}: expected a file or folder of events" in text
    assert not root.exists()


def test_a_folder_without_a_model_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = ["--events", "e.csv", "--outcomes", "o.csv"]
    code, text = failing(monkeypatch, capsys, "evaluate", "--model", str(tmp_path), *log)
    assert code == 2
    assert f"--model {tmp_path}: expected a pushed version" in text


def test_without_a_report_the_error_says_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = failing(monkeypatch, capsys, "report", "--root", str(tmp_path))
    assert code == 2
    assert "expected a run with a report" in text


def test_runs_of_an_empty_root_are_an_empty_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert mastery(monkeypatch, "runs", "--json", "--root", str(tmp_path)) == 0
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
        with contextlib.suppress(OSError):  # raised once the other end is closed
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
    assert f"{file}: expected run.json of Mastery; the text is not valid JSON" in text
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
        (
            BrokenPipeError(32, "Broken pipe"),
            2,
            "mastery: connection closed by the other end. Check that it is still running",
        ),
        (
            OSError(28, "No space left on device", "/x"),
            2,
            "mastery: /x: no space left on device. Make room there",
        ),
    ],
)
def test_an_error_inside_a_command_is_one_message_without_a_traceback(
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


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("runs --root {root}", 0),
        ("runs --json --root {root}", 0),
        ("--help", 0),
        ("--version", 0),
        ("models list --models {root}", 0),
        ("report --root {root}/absent", 2),
        ("rnu", 2),
    ],
)
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_a_command_whose_output_is_closed_ends_in_a_line_or_quietly(
    tmp_path: Path, arguments: str, code: int, closed: str
) -> None:
    record_run(tmp_path, "algebra", 1)
    options = arguments.format(root=tmp_path)
    ran = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m pipeline.cli.main {options} {closed}"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert ran.returncode == code
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert "unexpected" not in ran.stderr


def test_a_closed_pipe_does_not_exit_as_a_failed_gate_does(tmp_path: Path) -> None:
    for number in range(9):
        record_run(tmp_path, "algebra", number)
    runs = f"{sys.executable} -m pipeline.cli.main runs --json --root {tmp_path}"
    command = f"{runs} | true; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert ran.stdout.strip() in ("141", "0")  # 0: all was in the pipe before its reader ended
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
    config = ["--config", str(REPOSITORY / "configs" / "sample.yaml")]
    config += ["--root", str(tmp_path / name)]
    tables = [
        part
        for table in ("events", "outcomes")
        for part in ("--set", f"data.{table}={tmp_path}/{table}.csv")
    ]
    code, text = failing(monkeypatch, capsys, "run", *config, *tables)
    assert code == 2
    assert "expected a path without" in text
    assert not (tmp_path / name).exists()


def every_command() -> list[tuple[str, Any]]:
    """Returns every command with its path."""
    root: Any = typer.main.get_command(command_line.app)
    found = []
    for path in command_line.COMMANDS:
        command = root
        for name in path.split():
            command = command.get_command(None, name)
        found.append((path, command))
    return found


def float_options() -> list[str]:
    """Returns every option that is a number with a point, such as `serve --poll-seconds`."""
    found = []
    for path, command in every_command():
        hints = get_type_hints(command.callback, include_extras=True)
        found += [
            f"{path} {next(iter(option.param_decls), option.default)}"
            for hint in hints.values()
            if get_origin(hint) is Annotated
            and float in (hint.__origin__, *get_args(hint.__origin__))
            for option in hint.__metadata__
        ]
    return found


@pytest.mark.parametrize("option", float_options())
@pytest.mark.parametrize("value", ["nan", "inf", "1e400"])
def test_no_option_takes_nan_or_infinity(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    code, text = failing(monkeypatch, capsys, *option.split(), value)
    assert code == 2
    assert "expected a finite number" in text or "greater than" in text
