"""How programs end: an exit code and words, with the traceback in a file."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.command.explain import explain, explain_foreseen, explain_invalid
from components.command.program import run_program
from components.errors import ConfigError, GateError, LogError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def ended(capsys: pytest.CaptureFixture[str], error: BaseException | None) -> tuple[int, str]:
    def body() -> None:
        if error is not None:
            raise error

    code = run_program("mastery", body)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (None, 0, ""),
        (ConfigError("a.yaml: expected b"), 2, "mastery: a.yaml: expected b\n"),
        (GateError("f1_macro"), 1, "mastery: f1_macro\n"),
        (KeyboardInterrupt(), 130, "mastery: interrupted.\n"),
        (
            BrokenPipeError(32, "Broken pipe"),
            2,
            "mastery: connection closed by the other end. Check that it is still running, and",
        ),
        (SystemExit(2), 2, ""),
        (SystemExit("printed already"), 2, ""),
        (SystemExit(), 0, ""),
        (
            MemoryError(),
            2,
            "mastery: out of memory. Lower steps.max_steps or training.batch_size, or use a ",
        ),
    ],
)
def test_an_ending_has_its_code_and_words(
    capsys: pytest.CaptureFixture[str],
    temporary: Path,
    error: BaseException | None,
    code: int,
    says: str,
) -> None:
    found, text = ended(capsys, error)
    assert found == code
    assert text.startswith(says)
    assert bool(text) == bool(says)
    assert not [*temporary.iterdir()]


class Panic(BaseException):
    """No `Exception`, as what Python sees of a panic in Rust."""


@pytest.mark.parametrize(
    "error",
    [KeyError("learner"), ZeroDivisionError("x"), EOFError("cut off"), RecursionError(), Panic()],
)
def test_an_unforeseen_error_is_one_sentence_and_a_file(
    capsys: pytest.CaptureFixture[str], temporary: Path, error: BaseException
) -> None:
    code, text = ended(capsys, error)
    [log] = temporary.iterdir()
    assert code == 2
    assert text.startswith(f"mastery: unexpected {type(error).__name__}")
    assert f"The details are in {log}; please report it with that file." in text
    assert text.count("\n") == 1
    assert "Traceback" in log.read_text()
    assert "test_program.py" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_the_place_is_said_where_no_file_can_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    code, text = ended(capsys, KeyError("learner"))
    assert code == 2
    assert "unexpected KeyError: 'learner'. It was raised in test_program.py, line " in text


def test_the_first_words_among_causes_are_the_user_s() -> None:
    error = RuntimeError("while running [ReadLog]")
    error.__cause__ = LogError(["events.csv: row 3: expected a time, found 'x'"])
    assert (
        explain(error)
        == "The log has 1 problem:\n  - events.csv: row 3: expected a time, found 'x'"
    )


def test_what_an_error_was_cut_off_from_is_not_its_cause() -> None:
    error = ValueError("a number is wrong")
    error.__context__ = PermissionError(13, "Permission denied", "/x/y")
    assert explain(error).startswith("/x/y: permission denied.")
    error.__suppress_context__ = True
    assert explain(error) == "unexpected ValueError: a number is wrong"


def test_what_pydantic_finds_is_said_in_our_words() -> None:
    class Part(BaseModel):
        model_config = ConfigDict(extra="forbid")
        size: int = Field(ge=1)
        kind: Literal["cpu", "gpu"]
        names: list[str] = Field(min_length=1)
        pattern: str = Field(pattern="^a")

    given = {"size": 0, "kind": "gup", "names": [], "pattern": 7, "colour": "red"}
    assert problems_of(Part, given) == [
        "expected at least 1, found 0",
        "expected 'cpu' or 'gpu', found 'gup'; did you mean gpu?",
        "expected a length of at least 1, found []",
        "expected text (a number or date that is meant as text stands in quotes), found 7",
        "this key is not known",
    ]
    assert problems_of(Part, {"size": 1, "kind": "cpu", "names": ["a"], "pattern": "b"}) == [
        "string should match pattern '^a', found 'b'"
    ]
    assert problems_of(Part, "x") == ["expected a mapping of keys to values, found 'x'"]


def problems_of(model: type[BaseModel], value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return [explain_invalid(problem) for problem in caught.value.errors()]


def test_what_the_system_refuses_is_said_with_what_to_do() -> None:
    full = "no space left on device. Make room there, and run the same command again."
    assert explain(OSError(28, "No space left on device")) == full
    assert explain(OSError(28, "No space left on device", "/x/y")) == f"/x/y: {full}"
    assert explain(RuntimeError("RESOURCE_EXHAUSTED: /x/y; No space left on device")) == full
    assert explain_foreseen(ValueError("x")) is None


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = (
        f"import sys\nfrom components.command.program import *\nstart_process('mastery')\n{code}"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, errors="replace", check=False, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_threads_destructors_and_loggers_show_no_traceback(tmp_path: Path) -> None:
    ran = in_a_process(
        "import threading, logging\n"
        "class Lost:\n"
        "    def __del__(self): raise ValueError('lost')\n"
        "def body():\n"
        "    thread = threading.Thread(target=lambda: 1 / 0)\n"
        "    thread.start(); thread.join(); Lost()\n"
        "    try: 1 / 0\n"
        "    except ZeroDivisionError: logging.exception('a library says')\n"
        "sys.exit(run_program('mastery', body))",
        TMPDIR=str(tmp_path),
    )
    assert ran.returncode == 0
    assert "Traceback" not in ran.stdout + ran.stderr
    assert (
        "mastery: unexpected ZeroDivisionError: division by zero. The details are in" in ran.stderr
    )
    assert (
        "\na library says: unexpected ZeroDivisionError: division by zero (details in "
        in ran.stderr
    )
    logs = [*tmp_path.glob("mastery-error-*.log")]
    assert len(logs) == 2
    assert all("Traceback" in log.read_text() for log in logs)


def test_a_logger_leaves_few_files_and_none_for_what_was_foreseen(tmp_path: Path) -> None:
    ran = in_a_process(
        "import logging\n"
        "def body():\n"
        "    for error in [*[KeyError('x')] * 30, ConfigError('a.yaml: expected b')]:\n"
        "        logging.getLogger().error('a library says.', exc_info=error)\n"
        "    logging.getLogger('library').info('unheard')\n"
        "from components.errors import ConfigError\n"
        "sys.exit(run_program('mastery', body))",
        TMPDIR=str(tmp_path),
    )
    lines = ran.stderr.splitlines()
    assert len(lines) == 31
    assert sum("(details in " in line for line in lines) == len([*tmp_path.iterdir()]) == 20
    assert lines[-2:] == [
        "a library says: unexpected KeyError: 'x'", "a library says: a.yaml: expected b"
    ]  # fmt: skip


def test_c_code_is_quiet_while_it_is_imported() -> None:
    ran = in_a_process("with quiet_imports():\n    os.write(2, b'noise')\nos.write(2, b'heard')")
    assert (ran.returncode, ran.stderr) == (0, "heard")


def test_a_log_shows_its_first_twenty_problems() -> None:
    error = LogError([f"row {number}" for number in range(25)])
    assert str(error).startswith("The log has 25 problems:\n  - row 0\n")
    assert str(error).endswith("\n  - row 19\n  and 5 more")
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_whatever_is_printed_can_be(encoding: str) -> None:
    ran = in_a_process("print('✓ grün 😀 \\ud800')", PYTHONIOENCODING=encoding)
    assert ran.returncode == 0, ran.stderr


def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = (
        "import sys; from components.command.program import run_program\n"
        "sys.exit(run_program('mastery', lambda: print('unheard')))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        cwd=ROOT,
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_stream_that_the_caller_closed(
    tmp_path: Path, closed: str
) -> None:
    program = (
        "import os, sys; from components.command.program import *\n"
        "start_process('mastery')\n"
        "with open(sys.argv[1], 'w') as file, entry_point():\n"
        "    os.write(1, b'lost'); print('lost'); print('lost', file=sys.stderr)\n"
        "    file.write(f'{file.fileno() > 2}')"
    )
    file = tmp_path / "file"
    command = f'exec "{sys.executable}" -c "$0" "{file}" {closed}'
    ran = subprocess.run(
        ["sh", "-c", command, program], cwd=ROOT, check=False, stdout=subprocess.DEVNULL
    )
    assert ran.returncode == 0
    assert file.read_text() == "True"


def test_a_process_without_standard_output_ends_well() -> None:
    ran = in_a_process(
        "sys.stdout = None\nsys.exit(run_program('mastery', lambda: print('unheard')))"
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_user_whom_the_system_does_not_know_has_a_home() -> None:
    ran = in_a_process(
        "import pwd\n"
        "def unknown(_): raise KeyError\n"
        "pwd.getpwuid = unknown; os.environ.pop('HOME', None)\n"
        "start_process('mastery'); print(Path.home())"
    )
    assert ran.stdout == "/nonexistent\n", ran.stderr
