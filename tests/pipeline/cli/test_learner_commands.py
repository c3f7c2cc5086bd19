"""`mastery learner opt-out`: no change of the list is lost, and no id is empty."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from components.contracts.left_out import LeftOutList

REPOSITORY = Path(__file__).parents[3]
MASTERY = [sys.executable, "-m", "pipeline.cli.main"]


def test_changes_at_once_are_all_in_the_list(tmp_path: Path) -> None:
    path = tmp_path / "left-out.json"
    ids = [f"a/{number} ü" for number in range(4)]
    running = [
        subprocess.Popen(
            [*MASTERY, "learner", "opt-out", learner, "--list", path],
            cwd=REPOSITORY, stdout=subprocess.DEVNULL,
        )
        for learner in ids
    ]  # fmt: skip
    assert [process.wait() for process in running] == [0] * 4
    assert all(map(LeftOutList.read_file(path).holds, ids))


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*MASTERY, "learner", "opt-out", " ", "--list", tmp_path / "left-out.json"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "expected the id of a learner" in ran.stderr
    assert list(tmp_path.iterdir()) == []
