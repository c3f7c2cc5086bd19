"""TFMA's files are the same whether TFMA's pipeline writes them or we do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow_model_analysis as tfma

from components.config.beam import Beam
from components.config.data import Label
from components.config.gates import EvaluationRules
from components.evaluator.analysis import analyze, load_results
from tests.restless import retrying  # noqa: F401 - a fixture

ON_BEAM = Beam(args=["--runner=FnApiRunner", "--direct_running_mode=in_memory"])
THREADS = Beam(
    args=[
        "--runner=FnApiRunner",
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=3",
    ]
)
RETRYING = Beam(args=["--runner=components.node.in_memory_runner.make_runner"])
CLASSES = ["low", "middle", "high"]
SLICES = [["gender"], ["band", "gender"], ["gender"], ["a\0"]]
LABELS = [
    Label(column="mastery", classes=CLASSES),
    Label(column="grade", task="regression"),
]


def _write_predictions(path: Path, label: Label, seed: int) -> Path:
    """Writes 60 rows in three row groups; slices are the same for every seed."""
    slices = np.random.default_rng(1)
    draw = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "gender": slices.choice(["f", "m", ""], 60),
        "band": slices.choice(["10", "9", "é", "nan"], 60),
        "a\0": [["x", "x\0"][index] for index in slices.integers(0, 2, 60)],
    }
    if label.classes:
        probabilities = draw.dirichlet([1, 1, 1], 60).astype(np.float32)
        columns |= {
            "label": slices.choice(CLASSES[: 2 + seed % 2], 60),
            "probabilities": probabilities.tolist(),
            "predicted_class": [CLASSES[index] for index in probabilities.argmax(axis=1)],
        }
    else:
        columns |= {"label": slices.normal(size=60), "prediction": draw.normal(size=60)}
    pl.DataFrame(columns).write_parquet(path, row_group_size=20)
    return path


@pytest.mark.parametrize(
    "runner",
    [
        pytest.param(THREADS, id="threads"),
        pytest.param(RETRYING, id="retrying"),
    ],
)
@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.task)
def test_workers_measure_the_same_to_nine_digits(
    tmp_path: Path, label: Label, runner: Beam, request: pytest.FixtureRequest
) -> None:
    predictions = {"candidate": _write_predictions(tmp_path / "p.parquet", label, 3)}
    slices = SLICES[:2]
    rules = EvaluationRules(slices=slices, min_slice_examples=1)
    results = []
    for number, where in enumerate((Beam(), runner)):
        if where is RETRYING:
            request.getfixturevalue("retrying")
        folder = tmp_path / str(number)
        folder.mkdir()
        analyze(predictions, label, slices, folder, where)
        results.append(load_results(folder, ["candidate"], label, rules)["candidate"])

    here, there = (numbers_of(result.model_dump()) for result in results)
    assert here.keys() == there.keys()
    assert len(here) > 100
    for place, value in here.items():
        expected = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
        assert there[place] == expected, place


def numbers_of(value: Any, place: str = "") -> dict[str, Any]:
    """Returns every value of nested results, by its place."""
    if not isinstance(value, dict | list):
        return {place: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {
        key: found
        for name, item in items
        for key, found in numbers_of(item, f"{place}/{name}").items()
    }


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.task)
@pytest.mark.parametrize("models", [["candidate"], ["candidate", "baseline"]], ids=len)
def test_files_are_those_of_tfma(tmp_path: Path, label: Label, models: list[str]) -> None:
    predictions = {
        model: _write_predictions(tmp_path / f"{model}.parquet", label, seed)
        for seed, model in enumerate(models)
    }
    found = {}
    for runner in (Beam(), ON_BEAM):
        folder = tmp_path / str(len(found))
        folder.mkdir()

        analyze(predictions, label, SLICES, folder, runner)

        records = [str(record) for record in tfma.load_metrics(str(folder))]
        config = (folder / "eval_config.json").read_text()
        found[folder] = (
            sorted(path.name for path in folder.iterdir()), sorted(records), config,
        )  # fmt: skip

    here, on_beam = found.values()
    assert here == on_beam
    # All examples, 3 genders, 4 bands of each, and 2 values of the last column.
    assert len(here[1]) == 1 + 3 + 12 + 2


def test_no_library_prints_notices(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = _write_predictions(tmp_path / "p.parquet", LABELS[0], 1)
    rules = EvaluationRules(slices=[["gender"]], min_slice_examples=1)

    analyze({"candidate": path}, LABELS[0], rules.slices, tmp_path, Beam())
    results = load_results(tmp_path, ["candidate"], LABELS[0], rules)

    assert results["candidate"].overall.examples == 60
    assert caplog.messages == []
    assert capfd.readouterr().err == ""


def test_tfma_loads_the_result(tmp_path: Path) -> None:
    path = _write_predictions(tmp_path / "p.parquet", LABELS[0], 1)

    analyze({"candidate": path}, LABELS[0], [["gender"]], tmp_path, Beam())

    result = tfma.load_eval_result(str(tmp_path))
    overall = result.get_metrics_for_slice(())
    assert overall["examples"]["doubleValue"] == 60
    assert result.get_metrics_for_slice((("gender", "f"),)) is not None
    assert len(result.slicing_metrics) == 4
