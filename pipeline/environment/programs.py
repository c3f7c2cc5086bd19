"""Running other programs, and telling what went wrong with one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.environment.errors import SetupError


def output_of(*command: str | Path, problem: str, cwd: Path | None = None) -> str:
    """Runs a program and returns what it printed.

    Args:
        command: the program and its arguments.
        problem: what to tell the person where it fails, ahead of the program's own words.
        cwd: the folder to run it in.

    Raises:
        SetupError: the program failed.
    """
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{problem}\n{(done.stderr or done.stdout).strip()}")
    return done.stdout
