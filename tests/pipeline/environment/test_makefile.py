"""The commands people type."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MAKE = shutil.which("make") or "make"


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin"}
    return subprocess.run([MAKE, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_command() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    listed = re.findall(r"^  make (\S+) +\S", _make().stdout, re.MULTILINE)
    assert listed == phony[1].split()


def test_the_set_up_keeps_the_python_of_the_environment() -> None:
    settings = (ROOT / ".venv" / "pyvenv.cfg").read_text()
    base = re.search(r"^executable = (.*)$", settings, re.MULTILINE)
    assert base
    assert _make("--dry-run", "setup").stdout == f"{base[1]} -m pipeline.environment.setup\n"


def test_an_explicit_python_is_taken() -> None:
    assert _make("--dry-run", "setup", "PYTHON=mine").stdout == "mine -m pipeline.environment.setup\n"


def test_ci_does_what_people_do() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"
