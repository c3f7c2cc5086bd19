"""What `mastery init` proposes, run unedited: to a judged model, or through Transform."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.platforms.formats import PLATFORMS
from components.simulator.simulate import simulate
from tests.end_to_end.conftest import Mastery
from tests.pipeline.proposal.foreign import write_answers, write_clicks, write_german

pytestmark = pytest.mark.slow


def run_proposal(mastery: Mastery, log: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Runs `mastery init` and what it prints as the next command; returns the run's record."""
    proposed = mastery("init", log, "--yes", cwd=folder)
    assert proposed.returncode == 0, proposed.stdout + proposed.stderr
    command = proposed.stdout.splitlines()[-1].split()
    assert command[:3] == ["mastery", "run", "--config"]
    ran = mastery(*command[1:], "--root", folder / "runs", *options, cwd=folder)
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr  # 1: a gate failed
    [record] = json.loads(mastery("runs", "--root", folder / "runs", "--json").stdout)
    return record  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("write", "classes"),
    [
        (write_german, ["passed", "not_passed"]),
        (write_answers, ["not_mastered", "partial", "proficient"]),
    ],
)
def test_a_foreign_log_becomes_a_judged_model(
    mastery: Mastery, tmp_path: Path, write: Callable[[Path], None], classes: list[str]
) -> None:
    write(tmp_path / "log")
    record = run_proposal(mastery, tmp_path / "log", tmp_path)
    assert record["state"] in ("passed", "gates failed")
    metrics = json.loads(Path(record["metrics"]).read_text(encoding="utf-8"))
    assert metrics["classes"] == classes
    [learned] = [gate for gate in metrics["gates"] if gate["over"] == "prior"]
    assert learned["passed"]  # it tells learners apart, and not only units


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platforms_log_is_transformed(mastery: Mastery, tmp_path: Path, platform: str) -> None:
    simulate(500, 3, tmp_path / "log", format=platform)
    (tmp_path / "log" / "outcomes.csv").unlink()
    record = run_proposal(mastery, tmp_path / "log", tmp_path, "--to", "Transform")
    assert record["state"] == "passed"


def test_clicks_with_results_are_transformed(mastery: Mastery, tmp_path: Path) -> None:
    write_clicks(tmp_path / "log")
    record = run_proposal(mastery, tmp_path / "log", tmp_path, "--to", "Transform")
    assert record["state"] == "passed"
