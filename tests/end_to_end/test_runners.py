"""A whole run with Beam's workers in processes of their own gives what a run in one process gives.

Beam's runner for one machine is the reference of its portable runners: everything is pickled and
encoded, work is divided anew each time, and results come in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.conftest import Mastery

pytestmark = pytest.mark.slow

RUNNER = [
    "--runner=FnApiRunner",
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
    "--sdk_container_image=none",
]


@pytest.fixture(scope="module")
def runs(
    mastery: Mastery, sample: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The folders of the nodes of two runs: in one process, and with workers."""
    folders = []
    for options in ([], ["--set", f"beam.args=[{','.join(RUNNER)}]"]):
        root = tmp_path_factory.mktemp("root")
        ran = mastery("run", *sample, *options, "--root", root)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        folders.append(root / "sample" / "nodes")
    here, there = folders
    return here, there


def files(folder: Path, pattern: str) -> dict[str, bytes]:
    """Returns the files of a pattern by what their names are in every run."""
    found = sorted(folder.glob(pattern))
    assert found, f"{folder}/{pattern}: expected files"
    return {"/".join(path.parts[-2:]): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    "pattern",
    [
        "ExampleGen/examples/*/Split-*/*.gz",
        "StatisticsGen/statistics/*/Split-*/FeatureStats.pb",
        "Transform/transform_graph/*/transform_fn/assets/*",
        "Transform/transformed_examples/*/Split-*/*.gz",
        "Evaluator/evaluation/*/predictions.parquet",
    ],
)
def test_files_are_the_same(runs: tuple[Path, Path], pattern: str) -> None:
    here, there = (files(folder, pattern) for folder in runs)
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_weights_are_the_same(runs: tuple[Path, Path]) -> None:
    here, there = (
        np.load(next(folder.glob("Trainer/model/*/Format-Serving/**/weights.npz")))
        for folder in runs
    )
    assert sorted(here) == sorted(there)
    assert len(here.files) > 5
    for name in here:
        assert np.array_equal(here[name], there[name]), name


def test_metrics_are_the_same_to_nine_digits(runs: tuple[Path, Path]) -> None:
    here, there = (
        dict(
            values(json.loads(next(folder.glob("Evaluator/evaluation/*/metrics.json")).read_text()))
        )
        for folder in runs
    )
    assert here.keys() == there.keys()
    assert len(here) > 200
    for place, value in here.items():
        expected = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
        assert there[place] == expected, place


def values(item: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values in JSON with their places."""
    if isinstance(item, dict | list):
        for name, part in item.items() if isinstance(item, dict) else enumerate(item):
            yield from values(part, f"{place}/{name}")
    else:
        yield place, item
