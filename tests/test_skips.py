"""A skip in CI is a failure, unless its reason is accepted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FILE = """
import pytest

def test_skipped():
    pytest.skip({reason!r})
"""


@pytest.mark.parametrize(
    ("reason", "ci", "code"),
    [
        ("no server today", "true", 1),
        ("no server today", "", 0),
        ("root may read everything", "true", 0),
    ],
)
def test_a_skip_in_ci_is_a_failure_unless_it_is_accepted(
    tmp_path: Path, reason: str, ci: str, code: int
) -> None:
    (tmp_path / "test_one.py").write_text(FILE.format(reason=reason))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
    ]
    done = subprocess.run(
        [*command, "--rootdir", tmp_path, "-c", os.devnull, tmp_path / "test_one.py"],
        cwd=REPOSITORY,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("does not list: no server today" in done.stdout) == bool(code)
