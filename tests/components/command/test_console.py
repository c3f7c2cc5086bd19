"""What reaches the screen: by print, by loggers, by Rich."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from components.command.console import PlainConsole
from components.command.program import EscapingStream, entry_point, write_data

ROOT = Path(__file__).parents[3]
HOSTILE = "\x1b]0;owned\x07 \x1b[2J\x9b31m [red]x[/] :boom: \u202e"
SHOWN = "\\u001b]0;owned\\u0007 \\u001b[2J\\u009b31m [red]x[/] :boom: \\u202e"
PROGRAM = f"""
import logging, sys, warnings
from components.command.program import entry_point
hostile = {HOSTILE!r}
with entry_point():
    logging.basicConfig(format="%(message)s")
    print("print", hostile)
    sys.stdout.write("write" + hostile + chr(10))
    sys.stdout.writelines(["lines", hostile, chr(10)])
    logging.error("log %s", hostile)
    warnings.warn(hostile)
    print("lone", "\\udc80", flush=True)
    raise ValueError(hostile)
"""


def test_nothing_of_a_process_reaches_the_terminal_raw() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, check=False
    )
    for line in ("print " + SHOWN, "write" + SHOWN, "lines" + SHOWN, "lone \\udc80"):
        assert line in ran.stdout.splitlines()
    assert "log " + SHOWN in ran.stderr
    assert "UserWarning: " + SHOWN in ran.stderr
    for character in "\x1b\x07\x9b\u202e":
        assert character not in ran.stdout + ran.stderr


def test_an_error_of_the_command_line_is_harmless() -> None:
    command = [
        sys.executable,
        "-m",
        "pipeline.cli.main",
        "report",
        f"run{HOSTILE}",
        "--root",
        "/nowhere",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 2
    assert f"mastery: expected run run{SHOWN} with a report" in ran.stderr
    assert "\x1b" not in ran.stderr


def test_a_process_with_closed_output_continues() -> None:
    code = (
        "from components.command.program import entry_point, write_data\n"
        "with entry_point():\n"
        "    print(1), write_data('2')"
    )
    closed = f'exec "{sys.executable}" -c "$0" >&- 2>&-'
    assert subprocess.run(["sh", "-c", closed, code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_shows_text_as_it_is_and_colours_of_its_own(terminal: bool) -> None:
    out = io.StringIO()
    console = PlainConsole(
        file=out, force_terminal=terminal, width=200, color_system="standard" if terminal else None
    )
    table = Table(HOSTILE, "verdict", title=HOSTILE)
    table.add_row(HOSTILE, Text("passed", "green"))
    console.print(table)
    console.print(Text(HOSTILE))
    console.print(HOSTILE, style="bold red")
    console.print("end", end=f" {HOSTILE}\n")
    found = out.getvalue()
    assert found.count(SHOWN) == 5  # Rich itself takes the bell out of a Text
    assert "\x07" not in found
    assert "\x1b]" not in found
    assert ("\x1b[32mpassed" in found) is terminal
    rows = [line for line in found.splitlines() if "passed" in line or "│" in line]
    assert len({len(Text.from_ansi(row)) for row in rows}) == 1  # what was escaped was measured so


def test_progress_on_a_terminal_is_harmless() -> None:
    out = io.StringIO()
    with Live(
        console=PlainConsole(file=out, force_terminal=True, width=100), auto_refresh=False
    ) as live:
        grid = Table.grid()
        grid.add_row("progress", HOSTILE)
        live.update(grid, refresh=True)
    assert SHOWN in out.getvalue()
    assert "\x1b]" not in out.getvalue()


def test_a_console_writes_to_the_unguarded_stream(capsys: pytest.CaptureFixture[str]) -> None:
    with entry_point():
        console = PlainConsole(force_terminal=True, color_system="standard")
        console.print("red", style="red")
        assert isinstance(sys.stdout, EscapingStream)
    assert "\x1b[31mred" in capsys.readouterr().out
    assert not isinstance(sys.stdout, EscapingStream)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_data_is_whole_in_a_pipe_and_harmless_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for stream, written in ((io.StringIO(), HOSTILE), (_Terminal(), SHOWN)):
        monkeypatch.setattr(sys, "stdout", stream)
        with entry_point():
            write_data(HOSTILE)
        assert stream.getvalue() == written


OPEN, CLOSED = (0o750, 0o640), (0o700, 0o600)


@pytest.mark.parametrize(("before", "modes"), [(0o000, OPEN), (0o022, OPEN), (0o077, CLOSED)])
def test_new_files_are_for_user_and_group(
    tmp_path: Path, before: int, modes: tuple[int, int]
) -> None:
    kept = os.umask(before)
    try:
        with entry_point():
            (tmp_path / "folder").mkdir()
            (tmp_path / "file").touch()
        assert os.umask(kept) == before
    finally:
        os.umask(kept)
    assert tuple((tmp_path / name).stat().st_mode & 0o777 for name in ("folder", "file")) == modes
