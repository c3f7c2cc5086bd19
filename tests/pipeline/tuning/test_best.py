"""The best values as a change of the given file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.config import load_config
from components.errors import ConfigError
from pipeline.tuning.best import DIFF, YAML, write_best

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"
VALUES = {"training.learning_rate": 1e-5, "model.lstm": [128], "training.decay": 0.5}


@pytest.mark.parametrize("ending", ["\n", ""])
def test_a_patch_makes_the_best_configuration_and_keeps_comments(
    tmp_path: Path, ending: str
) -> None:
    given, out = tmp_path / "given.yaml", tmp_path / "out"
    given.write_text(CONFIG.read_text().rstrip("\n") + ending)
    write_best(given, ["training.epochs=2"], VALUES, out)

    best = load_config(out / YAML)
    assert (best.training.learning_rate, best.model.lstm) == (1e-5, [128])
    assert best.training.epochs == load_config(given).training.epochs  # options are not written
    assert Path(best.data.events[0]) == tmp_path.parent / "sample" / "events.parquet"

    subprocess.run(["patch", str(given), str(out / DIFF)], check=True, capture_output=True)
    assert load_config(given) == best
    for line in CONFIG.read_text().splitlines():
        if line.startswith("#"):
            assert line in given.read_text()


def test_without_better_values_there_is_no_change(tmp_path: Path) -> None:
    write_best(CONFIG, [], {}, tmp_path)
    assert (tmp_path / DIFF).read_text() == ""
    assert load_config(tmp_path / YAML) == load_config(CONFIG)


def test_a_file_that_cannot_be_changed_is_told_with_the_values(tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    shared = "model: {lstm: &units [64, 32], dense: *units"
    given.write_text(CONFIG.read_text().replace("model: {lstm: [64, 32], dense: [64]", shared))
    assert load_config(given).model.dense == [64, 32]
    with pytest.raises(ConfigError, match=r"write them yourself: model\.dense=\[8\]"):
        write_best(given, [], {"model.dense": [8]}, tmp_path / "out")
    assert not [*(tmp_path / "out").glob("best.*")]
