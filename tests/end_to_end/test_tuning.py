"""A search of a few trials on a small log, and the run that its best values lead to."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from components.config import load_config
from tests.end_to_end.conftest import COMMAND, Mastery, environment

pytestmark = pytest.mark.slow

Json = dict[str, Any]
SPACE = """\
training.learning_rate: {low: 1e-3, high: 0.03, log: true}
model.lstm: {choices: [[8], [16, 8]]}
"""


@pytest.fixture(scope="module")
def root(mastery: Mastery, sample: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which a search was interrupted, and went on without a test split to read."""
    root = tmp_path_factory.mktemp("root")
    space = root / "space.yaml"
    space.write_text(SPACE)
    options = [*sample, "--space", str(space), "--root", str(root), "--seed", "3"]
    process = subprocess.Popen(
        [*COMMAND, "tune", *options, "--trials", "3"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Trial 1/3  complete"):
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "which are kept. The same command goes on." in errors
    assert not (root / "sample" / "tuning" / "tuning.json").exists()

    tests = [*(root / "sample" / "nodes").rglob("Split-test")]
    assert tests
    for folder in tests:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "data.gz").write_bytes(b"whoever reads this fails")

    done = mastery("tune", *options, "--trials", "3", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of this study are done; going on." in done.stderr
    (root / "printed.json").write_text(done.stdout)
    return root


@pytest.fixture(scope="module")
def result(root: Path) -> Json:
    file = root / "sample" / "tuning" / "tuning.json"
    assert file.read_text() == (root / "printed.json").read_text()
    content: Json = json.loads(file.read_text())
    return content


def test_the_given_configuration_is_compared_with_what_was_drawn(result: Json) -> None:
    first, *others = result["trials"]
    assert (first["values"], first["state"]) == ({}, "complete")
    assert len(others) == 2
    for trial in others:
        assert trial["values"].keys() == {"training.learning_rate", "model.lstm"}
    losses = [trial["eval_loss"] for trial in result["trials"] if trial["state"] == "complete"]
    assert result["trials"][result["best"] - 1]["eval_loss"] == min(losses)


def test_a_run_of_the_best_configuration_has_the_same_eval_loss(
    mastery: Mastery, sample: list[str], root: Path, result: Json
) -> None:
    best = root / "sample" / "tuning" / "best.yaml"
    options = [str(best) if part.endswith("sample.yaml") else part for part in sample]
    ran = mastery("run", *options, "--root", root, "--to", "Trainer")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [file] = (root / "sample" / "nodes" / "Trainer").rglob("history.json")
    history = json.loads(file.read_text())
    loss = history["epochs"][history["best_epoch"] - 1]["val_loss"]
    assert loss == result["trials"][result["best"] - 1]["eval_loss"]


def test_the_difference_is_a_patch_of_the_given_file(
    sample: list[str], root: Path, tmp_path: Path, result: Json
) -> None:
    given = Path(sample[1])
    changed = tmp_path / given.name
    shutil.copy(given, changed)
    patch = root / "sample" / "tuning" / "best.diff"
    values = result["trials"][result["best"] - 1]["values"]
    if values:
        subprocess.run(["patch", str(changed), str(patch)], check=True, capture_output=True)
    else:
        assert patch.read_text() == ""
    config = load_config(changed)
    best = load_config(root / "sample" / "tuning" / "best.yaml")
    assert (config.model, config.training) == (best.model, best.training)
    comments = [line for line in given.read_text().splitlines() if line.startswith("#")]
    assert comments == [line for line in changed.read_text().splitlines() if line[:1] == "#"]
