"""Two folds of a small log by one command, and the table that it makes of them."""

from __future__ import annotations

import json
import math
import signal
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.end_to_end.conftest import COMMAND, Mastery, environment
from tests.end_to_end.test_interrupt import wait_for

pytestmark = pytest.mark.slow

Json = dict[str, Any]
NAMES = ["f1_macro", "accuracy", "auc", "log_loss", "ece"]


@pytest.fixture(scope="module")
def options(sample: list[str]) -> list[str]:
    """Two folds, with a gate that no model passes."""
    changed = {
        "data.splits.folds": 2,
        "training.epochs": 1,
        "evaluation.simple_models": "[prior, logistic]",
        "gates": "[{metric: f1_macro, min: 0.999}]",
    }
    return [
        *sample,
        *(part for key, value in changed.items() for part in ("--set", f"{key}={value}")),
    ]


@pytest.fixture(scope="module")
def root(mastery: Mastery, options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the second fold was interrupted, and the same command went on."""
    root = tmp_path_factory.mktemp("root")
    process = subprocess.Popen(
        [*COMMAND, "cross-validate", *options, "--root", str(root)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    folder = root / "sample" / "cross-validation"
    wait_for("Trainer", folder / "fold-1", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "interrupted in fold 1. Fold 0 is done and kept. The same command goes on" in errors
    assert "Traceback" not in output + errors
    assert not [*folder.glob("cross-validation.*")]

    ran = mastery("cross-validate", *options, "--root", root, "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (root / "printed.json").write_text(ran.stdout)
    return root


@pytest.fixture(scope="module")
def table(root: Path) -> Json:
    file = root / "sample" / "cross-validation" / "cross-validation.json"
    assert file.read_text() == (root / "printed.json").read_text()
    content: Json = json.loads(file.read_text())
    return content


@pytest.fixture(scope="module")
def metrics(table: Json) -> list[Json]:
    """What the Evaluator of each fold has written."""
    return [json.loads(Path(fold["metrics"]).read_text()) for fold in table["folds"]]


def spread(values: list[float]) -> Json:
    mean = sum(values) / 2
    deviation = abs(values[0] - values[1]) / math.sqrt(2)
    error = deviation / math.sqrt(2)
    return {"mean": mean, "deviation": deviation, "error": error, "folds": values}


def assert_is_spread(found: Json, values: list[float]) -> None:
    assert found.keys() == spread(values).keys()
    for key, value in spread(values).items():
        assert found[key] == pytest.approx(value, abs=1e-12)


def test_a_finished_fold_comes_from_the_cache(root: Path) -> None:
    runs = root / "sample" / "cross-validation" / "fold-0" / "sample" / "runs"
    *_, last = sorted(runs.glob("*/run.json"))
    record = json.loads(last.read_text())
    assert {node["state"] for node in record["nodes"]} == {"cached"}
    assert record["state"] == "gates failed"


def test_each_number_is_that_of_the_folds(table: Json, metrics: list[Json]) -> None:
    assert [*table["overall"]["metrics"]] == NAMES
    assert table["overall"]["examples"] == [fold["overall"]["examples"] for fold in metrics]
    for name in NAMES:
        ours = [fold["overall"]["metrics"][name] for fold in metrics]
        assert_is_spread(table["overall"]["metrics"][name]["value"], ours)

    slices = {tuple(item["slice"].items()) for fold in metrics for item in fold["slices"]}
    assert {tuple(item["slice"].items()) for item in table["slices"]} == slices
    item = next(item for item in table["slices"] if all(item["examples"]))
    in_folds = [
        next(other for other in fold["slices"] if other["slice"] == item["slice"])
        for fold in metrics
    ]
    ours = [fold["metrics"]["accuracy"] for fold in in_folds]
    assert_is_spread(item["metrics"]["accuracy"]["value"], ours)


def test_simple_models_stand_beside_the_network(table: Json, metrics: list[Json]) -> None:
    assert [*table["simple_models"]] == ["prior", "logistic"]
    for index, name in enumerate(table["simple_models"]):
        for metric in ("f1_macro", "log_loss"):
            found = table["overall"]["metrics"][metric]
            theirs = [
                fold["simple_models"][index]["overall"]["metrics"][metric] for fold in metrics
            ]
            sign = -1 if metric == "log_loss" else 1
            ours = found["value"]["folds"]
            gains = [sign * (our - their) for our, their in zip(ours, theirs, strict=True)]
            assert_is_spread(found["simple_models"][name]["value"], theirs)
            assert_is_spread(found["simple_models"][name]["gain"], gains)
            told = [fold["simple_models"][index]["gains"][metric]["value"] for fold in metrics]
            assert gains == pytest.approx(told)


def test_every_learner_is_tested_once_and_nothing_is_pushed(
    table: Json, options: list[str], root: Path
) -> None:
    [outcomes] = [part.removeprefix("data.outcomes=") for part in options if "outcomes=" in part]
    log = pl.read_parquet(outcomes)
    assert (table["outcomes"], table["learners"]) == (log.height, log["learner_id"].n_unique())
    assert sum(fold["learners"] for fold in table["folds"]) == table["learners"]
    assert sum(fold["outcomes"] for fold in table["folds"]) == table["outcomes"]
    assert not [*root.rglob("serving/[0-9]*")]
    assert all(fold["seconds"] > 5 for fold in table["folds"])  # of training, not of the cache
    page = (root / "sample" / "cross-validation" / "cross-validation.md").read_text()
    assert f"2 folds by learner: {log.height:,} outcomes" in page
