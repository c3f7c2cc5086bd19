"""The command a user types, and the logs to type it on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
REAL_LOGS = REPOSITORY.parent / "shared" / "data"

IMAGE = "localhost/mastery-test:latest"

Mastery = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-m", "pipeline.cli.main"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "160"}


@pytest.fixture(scope="session")
def mastery() -> Mastery:
    """Runs `mastery ...` as a user does, in a folder that is not the repository."""

    def run(*arguments: str | Path, cwd: Path = Path("/")) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment(),
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def sample(mastery: Mastery, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small simulated log, as options of a short run on it."""
    folder = tmp_path_factory.mktemp("sample")
    made = mastery("simulate", "--learners", "600", "--seed", "3", "--out", folder)
    assert made.returncode == 0, made.stderr
    options = {
        "data.events": folder / "events.parquet",
        "data.outcomes": folder / "outcomes.parquet",
        "training.epochs": 2,
        "gates": "[{metric: f1_macro, min: 0.2}]",
        "fairness.gates": "[]",
    }
    settings = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    return ["--config", str(REPOSITORY / "configs" / "sample.yaml"), *settings]


def has_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def image() -> str:
    """Builds the image from the Dockerfile; the engine keeps its layers between runs."""
    if not has_engine():
        pytest.skip("NO CONTAINER ENGINE: `docker info` fails, so nothing runs in containers")
    command = ["docker", "build", "--tag", IMAGE, str(REPOSITORY)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return IMAGE
