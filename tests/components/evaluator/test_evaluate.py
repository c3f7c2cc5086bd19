"""From a SavedModel and examples to `metrics.json`, compared with scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow_model_analysis as tfma
from sklearn import metrics as sk

from components.config import Config
from components.contracts.training_history import TrainingHistory
from components.evaluator.evaluate import evaluate_model, judge_model
from components.evaluator.evaluator_settings import EvaluatorSettings

Json = dict[str, Any]

CLASSES = ["low", "mid", "high"]


def _config(**sections: Any) -> Config:
    values = {
        "name": "small",
        "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
        "schema": "small.pbtxt",
        "label": {"column": "mastery", "classes": CLASSES},
        "steps": {"features": {"dwell": {"type": "numeric"}}},
        "evaluation": {"slices": ["gender", "week", ["gender", "week"], "as_of"]},
        "gates": [
            {"metric": "accuracy", "min": 0.5},
            {"metric": "recall", "class": "low", "slice": "gender", "min": 0.3},
            {"metric": "log_loss", "max_change": 0.0},
        ],
    }
    return Config.model_validate(values | sections)


@pytest.fixture(scope="module")
def examples(make_example: Callable[..., bytes]) -> list[bytes]:
    """300 rows; week 3 knows one class only, one gender is missing, probabilities have ties."""
    random = np.random.default_rng(11)
    rows = []
    for index in range(300):
        week = int(random.integers(1, 4))
        label = 0 if week == 3 else int(random.integers(0, 3))
        weights = random.integers(1, 6, 3).astype(np.float32)
        weights[label] += 2
        rows.append(
            make_example(
                learner_id=f"learner {index}",
                unit_id="u",
                as_of=index % 2,
                mastery=CLASSES[label],
                num_steps=int(index % 10 > 0),
                week=week,
                gender=[None, "f", "m"][index % 3],
                answer=weights / weights.sum(),
            )
        )
    return rows


@pytest.fixture(scope="module")
def evaluation(
    tmp_path_factory: pytest.TempPathFactory,
    examples: list[bytes],
    save_model: Callable[..., Path],
    write_split: Callable[..., Path],
) -> Path:
    """The evaluation of a candidate, and of a baseline whose classes have another order."""
    folder = tmp_path_factory.mktemp("evaluator")
    split = write_split(folder / "Split-test", examples)
    config = _config()
    card = {
        "name": "small",
        "task": "classification",
        "config": config.model_dump(mode="json", by_alias=True),
    }
    model = save_model(folder / "model", CLASSES, card)
    baseline = save_model(folder / "baseline", ["mid", "high", "low"], card)
    (folder / "evaluation").mkdir()
    judge_model(split, model, baseline, EvaluatorSettings.of(config), folder / "evaluation")
    return folder / "evaluation"


def _metrics(evaluation: Path) -> Json:
    content: Json = json.loads((evaluation / "metrics.json").read_text())
    return content


def _evaluate(*arguments: Any) -> Json:
    """Returns what `evaluate_model` measured, as JSON."""
    return evaluate_model(*arguments).model_dump(mode="json", by_alias=True, exclude_unset=True)


def _check(result: Json, rows: pl.DataFrame) -> None:
    """Compares a result with scikit-learn's on the same rows."""
    true, predicted = rows["label"].to_list(), rows["predicted_class"].to_list()
    probabilities = np.array(rows["probabilities"].to_list(), np.float32)
    assert result["examples"] == len(rows)
    assert result["confusion"] == sk.confusion_matrix(true, predicted, labels=CLASSES).tolist()
    expected = {"accuracy": sk.accuracy_score(true, predicted)}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            true, predicted, average=average, zero_division=0
        )
        expected |= {
            f"precision_{average}": precision,
            f"recall_{average}": recall,
            f"f1_{average}": f1,
        }
    indices = [CLASSES.index(name) for name in true]
    expected["log_loss"] = sk.log_loss(indices, probabilities, labels=range(3))
    answered = probabilities.argmax(axis=1)
    expected["ece"] = _calibration_error(probabilities.max(axis=1), answered == indices)
    complete = len(set(true)) == 3
    expected["auc"] = (
        sk.roc_auc_score(indices, probabilities, multi_class="ovr") if complete else None
    )
    assert result["metrics"] == pytest.approx(expected, abs=1e-6)
    by_class = sk.precision_recall_fscore_support(true, predicted, labels=CLASSES, zero_division=0)
    for index, name in enumerate(CLASSES):
        found = dict(result["classes"][name])
        area, error, intervals = (found.pop(key) for key in ("auc", "ece", "intervals"))
        assert [*found.values()] == pytest.approx([column[index] for column in by_class], abs=1e-6)
        positive = np.equal(indices, index)
        is_defined = positive.any() and not positive.all()
        assert area == pytest.approx(
            sk.roc_auc_score(positive, probabilities[:, index]) if is_defined else None, abs=1e-6
        )
        assert error == pytest.approx(_calibration_error(probabilities[:, index], positive))
        assert {*intervals} <= {"precision", "recall", "f1", "auc", "ece"}
        _check_intervals(result["classes"][name], intervals)
    _check_intervals(result["metrics"], result["intervals"])


def _calibration_error(scores: np.ndarray, true: np.ndarray) -> float:
    """Returns the distance between what is said and what happens, summed over fifteen bins."""
    places = np.floor(scores.astype(float) * 15).clip(max=14)
    chosen = [places == place for place in range(15)]
    return sum(
        abs(scores[rows].mean(dtype=float) - true[rows].mean()) * rows.mean()
        for rows in chosen
        if rows.any()
    )


def _check_intervals(metrics: Json, intervals: Json) -> None:
    """Compares intervals with the metrics that they are of."""
    for name, (low, high) in intervals.items():
        assert low <= high
        if name != "ece":  # it is the mean of distances, and chance only adds to them
            assert low - 0.02 <= metrics[name] <= high + 0.02


def test_all_metrics_equal_scikit_learn_overall_and_in_every_slice(evaluation: Path) -> None:
    metrics = _metrics(evaluation)
    rows = pl.read_parquet(evaluation / "predictions.parquet")
    _check(metrics["overall"], rows)
    for result in metrics["slices"]:
        _check(
            result,
            rows.filter(
                pl.col(name).cast(pl.String) == value for name, value in result["slice"].items()
            ),
        )
    genders, weeks = ["", "f", "m"], ["1", "2", "3"]
    assert [result["slice"] for result in metrics["slices"]] == [
        *({"gender": value} for value in genders),
        *({"week": value} for value in weeks),
        *({"gender": gender, "week": week} for gender in genders for week in weeks),
        {"as_of": "0"},
        {"as_of": "1"},
    ]


def test_a_slice_with_one_class_has_no_auc(evaluation: Path) -> None:
    [week] = [
        result for result in _metrics(evaluation)["slices"] if result["slice"] == {"week": "3"}
    ]
    assert week["metrics"]["auc"] is None
    high = dict(week["classes"]["high"])
    assert "recall" not in high.pop("intervals")  # there is nobody to find
    assert high.pop("ece") > 0
    assert high == {"precision": 0, "recall": 0, "f1": 0, "auc": None, "support": 0}


def test_the_baseline_is_judged_on_the_same_examples(evaluation: Path) -> None:
    metrics = _metrics(evaluation)
    rows = pl.read_parquet(evaluation / "predictions_baseline.parquet")
    assert metrics["baseline_note"] is None
    _check(metrics["baseline"]["overall"], rows)
    assert len(metrics["baseline"]["slices"]) == len(metrics["slices"])
    # it reads `answer` in the order of its own classes
    assert (
        metrics["baseline"]["overall"]["metrics"]["accuracy"]
        < metrics["overall"]["metrics"]["accuracy"]
    )


def test_the_gates_are_judged_and_the_model_is_blessed(evaluation: Path) -> None:
    metrics = _metrics(evaluation)
    assert metrics["blessed"] is True
    assert [gate["passed"] for gate in metrics["gates"]] == [True] * 3
    change = metrics["gates"][2]
    assert change["baseline"] == metrics["baseline"]["overall"]["metrics"]["log_loss"]
    assert change["text"].startswith("change of log_loss <= +0: -")


def test_the_rest_of_the_metrics_file(evaluation: Path) -> None:
    metrics = _metrics(evaluation)
    assert (metrics["task"], metrics["classes"]) == ("classification", CLASSES)
    assert metrics["format"] == 1
    assert metrics["basis"] == {"sequence": 270, "prior": 30, "unfamiliar": 0}
    assert [*metrics["overall"]] == [
        "examples",
        "metrics",
        "classes",
        "intervals",
        "confusion",
        "curves",
    ]
    assert not any("curves" in result for result in metrics["slices"])
    curves = metrics["overall"]["curves"]
    assert curves.keys() == set(CLASSES)
    for name, curve in curves.items():
        area = sk.auc(curve["roc"]["fpr"], curve["roc"]["tpr"])
        assert area == pytest.approx(metrics["overall"]["classes"][name]["auc"], abs=1e-9)


def test_tfma_s_own_loader_reads_the_evaluation(evaluation: Path) -> None:
    loaded = tfma.load_eval_result(str(evaluation), model_name="candidate")
    [overall] = [values for key, values in loaded.slicing_metrics if key == ()]
    assert (
        overall[""][""]["accuracy"]["doubleValue"]
        == _metrics(evaluation)["overall"]["metrics"]["accuracy"]
    )


def test_another_log_is_scored_by_the_same_code(
    evaluation: Path, tmp_path: Path, examples: list[bytes], save_model: Callable[..., Path]
) -> None:
    config = _config(
        evaluation={"slices": ["week"], "min_slice_examples": 100},
        gates=[{"metric": "auc", "min": 0}],
    )
    result = _evaluate(save_model(tmp_path / "model", CLASSES), iter(examples), config)
    judged = _metrics(evaluation)
    assert result == {
        **{key: judged[key] for key in ("task", "classes", "basis", "overall", "confidence")},
        "decisions": [],
        "uncertainty": None,
        "slices": [
            item
            for item in judged["slices"]
            if [*item["slice"]] == ["week"] and item["examples"] >= 100
        ],
    }
    assert 0 < len(result["slices"]) < 3


def test_models_of_further_seeds_are_measured_on_the_same_examples(
    evaluation: Path,
    tmp_path: Path,
    examples: list[bytes],
    save_model: Callable[..., Path],
    write_split: Callable[..., Path],
) -> None:
    """The second model reads `answer` in another order of its classes, the third in the same."""
    split = write_split(tmp_path / "Split-test", examples)
    model = save_model(tmp_path / "model", CLASSES)
    run = tmp_path / "model_run"
    save_model(run / "seeds" / "8", ["mid", "high", "low"])
    save_model(run / "seeds" / "9", CLASSES)
    TrainingHistory(seeds=[7, 8, 9]).write(run)

    gates = [
        {"metric": "accuracy", "max_spread": 0.01},
        {"metric": "recall", "class": "low", "max_spread": 1},
    ]
    settings = EvaluatorSettings.of(_config(evaluation={"seeds": 3}, gates=gates))
    judged = judge_model(split, model, None, settings, tmp_path, model_run=run)

    before = _metrics(evaluation)
    own, other = (place["overall"] for place in (before, before["baseline"]))
    seeds = judged.seeds
    assert seeds is not None
    assert seeds.seeds == [7, 8, 9]
    for name, values in seeds.metrics.items():
        assert values == [place["metrics"][name] for place in (own, other, own)]
    for class_, metrics in seeds.classes.items():
        assert {*metrics} == {"precision", "recall", "f1", "auc", "ece"}
        for name, values in metrics.items():
            assert values == [place["classes"][class_][name] for place in (own, other, own)]

    recalls = [place["classes"]["low"]["recall"] for place in (own, other)]
    spread = own["metrics"]["accuracy"] - other["metrics"]["accuracy"]
    assert [(gate.passed, gate.value) for gate in judged.gates] == [
        (False, pytest.approx(spread)),
        (True, pytest.approx(abs(recalls[0] - recalls[1]))),
    ]
    assert sorted(file.name for file in tmp_path.glob("*.parquet")) == ["predictions.parquet"]
    assert judge_model(split, model, None, settings, tmp_path).seeds is None


def test_a_regression_is_judged_by_its_own_metrics(
    tmp_path: Path, make_example: Callable[..., bytes], save_model: Callable[..., Path]
) -> None:
    random = np.random.default_rng(3)
    true = random.normal(50, 10, 40).astype(np.float32)
    answers = (true + random.normal(0, 5, 40)).astype(np.float32)
    rows = [
        make_example(
            learner_id="a", unit_id=f"u{index % 3}", as_of=1, grade=float(grade), answer=[answer]
        )
        for index, (grade, answer) in enumerate(zip(true, answers, strict=True))
    ]
    config = _config(
        label={"column": "grade", "task": "regression"},
        evaluation={"slices": ["unit_id"]},
        gates=[{"metric": "mae", "max": 10}],
    )
    result = _evaluate(save_model(tmp_path / "model", []), rows, config)
    assert (result["task"], result["classes"]) == ("regression", [])
    places = [slice(None), slice(0, None, 3), slice(1, None, 3), slice(2, None, 3)]
    for found, chosen in zip([result["overall"], *result["slices"]], places, strict=True):
        mse = sk.mean_squared_error(true[chosen], answers[chosen])
        mae, r2 = (
            sk.mean_absolute_error(true[chosen], answers[chosen]),
            sk.r2_score(true[chosen], answers[chosen]),
        )
        assert found["metrics"] == pytest.approx(
            {"mse": mse, "mae": mae, "rmse": mse**0.5, "r2": r2}, rel=1e-5
        )
        assert (found["classes"], found["confusion"], found["examples"]) == (
            {},
            [],
            len(true[chosen]),
        )


def test_every_text_is_a_slice_of_its_own(
    tmp_path: Path, make_example: Callable[..., bytes], save_model: Callable[..., Path]
) -> None:
    regions = [
        "a",
        "a ",
        "a\0",
        "a\nb",
        "a\r\nb",
        " ",
        "\n",
        "nan",
        "inf",
        "-1",
        "01",
        "1",
        "1.0",
        "ü" * 3000,
    ]
    examples = [
        make_example(
            learner_id=f"learner {index}",
            unit_id="u",
            as_of=index,
            mastery=CLASSES[index % 3],
            num_steps=1,
            region=regions[index % len(regions)],
            answer=[0.2, 0.3, 0.5],
        )
        for index in range(6 * len(regions))
    ]
    config = _config(evaluation={"slices": ["region"]}, gates=[{"metric": "accuracy", "min": 0.1}])
    result = _evaluate(save_model(tmp_path / "model", CLASSES), examples, config)
    found = [(item["slice"]["region"], item["examples"]) for item in result["slices"]]
    numbers = ["-1", "01", "1", "1.0"]
    texts = sorted({*regions} - {*numbers})
    assert found == [(region, 6) for region in (*numbers, *texts)]


def test_a_baseline_that_does_not_fit_is_left_out_and_the_reason_given(
    tmp_path: Path,
    make_example: Callable[..., bytes],
    save_model: Callable[..., Path],
    write_split: Callable[..., Path],
) -> None:
    example = make_example(
        learner_id="a", unit_id="u", as_of=1, mastery="low", num_steps=1, answer=[0.5, 0.3, 0.2]
    )
    split = write_split(tmp_path / "Split-test", [example])
    settings = EvaluatorSettings.of(_config(evaluation={}, gates=[{"metric": "auc", "max": 1}]))
    model = save_model(tmp_path / "model", CLASSES)
    other = save_model(tmp_path / "other", ["low", "top"])

    def judge(baseline: Path) -> Json:
        judge_model(split, model, baseline, settings, tmp_path)
        return _metrics(tmp_path)

    found = judge(other)
    assert found["baseline"] is None
    assert found["baseline_note"].startswith(f"the blessed model {other} cannot be scored: ")

    newer = save_model(
        tmp_path / "newer",
        CLASSES,
        {"format": 99, "name": "small", "task": "classification", "config": {}},
    )
    assert "update this one" in judge(newer)["baseline_note"]
