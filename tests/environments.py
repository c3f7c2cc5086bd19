"""Environments of programs whose packages do not go with ours: each has a lock beside the tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from tests.debian import one_process


def make_environment(cache: Path, lock: Path, name: str) -> Path:
    """Returns the folder of an environment's programs, made unless it is there.

    Skips the test, with the reason, where it cannot be installed.

    Args:
        cache: a folder for environments; another lock makes another one.
        lock: requirements with hashes.
        name: of what is installed, for the reason.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    environment = cache / f"{digest}-{sys.version_info[0]}.{sys.version_info[1]}"
    programs, ready = environment / "bin", environment / "ready"
    with one_process(cache):
        if not ready.is_file():  # what an interrupted installation left is made anew
            shutil.rmtree(environment, ignore_errors=True)
            # Programs hold their own path, so the environment is made where it stays.
            for command in (
                ["venv", environment, "--python", _plain_python()],
                ["pip", "install", "--python", programs / "python", "--require-hashes",
                 "--no-deps", "--requirement", lock],
            ):  # fmt: skip
                done = subprocess.run(
                    [uv.find_uv_bin(), "--quiet", *command],
                    check=False, capture_output=True, text=True,
                )  # fmt: skip
                if done.returncode:
                    pytest.skip(f"this test needs {name}, and uv says: {done.stderr}")
            ready.touch()
    return programs


def _plain_python() -> str:
    """Returns the interpreter that our own environment was made from."""
    return os.path.realpath(Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}"))
