"""Packages of npm for tests: those of tests/package-lock.json, in a cache, never in the project."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.debian import one_process

FILES = ("package.json", "package-lock.json")
HERE = Path(__file__).parent


def installed(cache: Path, *, why: str) -> Path:
    """Returns the folder `node_modules`; skips, with the reason, where npm is missing or fails.

    Args:
        cache: a folder for these packages only.
        why: what is not tested without them.
    """
    if not shutil.which("npm"):
        pytest.skip(f"npm is not on PATH, and {why}")

    with one_process(cache):
        if all((cache / name).is_file() for name in FILES) and _is_current(cache):
            return cache / "node_modules"
        for name in FILES:
            shutil.copy(HERE / name, cache / name)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=cache, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            (cache / FILES[1]).unlink()  # the next run tries again
            pytest.skip(f"npm could not fetch its packages, and {why}: {done.stderr.strip()}")
    return cache / "node_modules"


def _is_current(cache: Path) -> bool:
    return all((cache / name).read_bytes() == (HERE / name).read_bytes() for name in FILES)
