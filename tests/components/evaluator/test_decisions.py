"""How decisions go: counts, draws, what other thresholds would do, and whose decisions they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from components.config import Config
from components.config.decisions import Cost, Decision
from components.contracts.calibration import Calibration, ChosenPoint
from components.contracts.evaluation import Evaluation
from components.evaluator.decisions import DecisionAnswers, decision_curve, decisions_of
from components.evaluator.evaluate import judge_model
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.evaluator.resampling import draw_metrics

CLASSES = ["low", "high"]
CALL = {"name": "call", "class": "low", "cost": {"miss": 5, "false_alarm": 1}}
FEW = {"name": "few", "class": "high", "capacity": 20}


def settings(**sections: Any) -> EvaluatorSettings:
    values = {
        "name": "small",
        "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
        "schema": "small.pbtxt",
        "label": {"column": "mastery", "classes": CLASSES},
        "steps": {"features": {"dwell": {"type": "numeric"}}},
        "decisions": [CALL, FEW],
        "evaluation": {"slices": ["gender"], "draws": 200},
        "gates": [{"metric": "recall", "decision": "call", "min": 0.1}],
    }
    return EvaluatorSettings.of(Config.model_validate(values | sections))


rows = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(rows=rows)
def test_draws_are_the_metrics_of_the_rows_that_were_drawn(
    rows: list[tuple[int, bool, bool, bool]],
) -> None:
    learners = np.array([row[0] for row in rows])
    decisions = [Decision.model_validate(item) for item in (CALL, FEW)]
    is_low = np.array([row[1] for row in rows])
    taken = np.array([row[2:] for row in rows])
    answers = DecisionAnswers(decisions, taken, np.column_stack([is_low, ~is_low]))

    counts = np.random.default_rng(1).integers(0, 3, (6, 8)).astype(float)
    drawn = answers.measure(learners, 6)(counts)
    for draw in range(8):
        repeated = np.repeat(np.arange(len(rows)), counts[learners, draw].astype(int))
        for name, metrics in answers.at(repeated).count().items():
            for metric in ("recall", "precision", "alarm_rate", "cost"):
                value = getattr(metrics, metric)
                if (metric, name) not in drawn:
                    assert value is None
                    continue
                expected = np.nan if value is None else value
                assert drawn[metric, name][draw] == pytest.approx(expected, nan_ok=True)
    assert answers.metrics >= len(drawn) == 7


def test_draws_of_learners_spread_around_the_metric() -> None:
    random = np.random.default_rng(2)
    is_low = random.random(2000) < 0.4
    taken = np.where(is_low, random.random(2000) < 0.8, random.random(2000) < 0.1)
    call = Decision.model_validate(CALL)
    answers = DecisionAnswers([call], taken[:, np.newaxis], is_low[:, np.newaxis])

    measures = {"all": answers.measure(np.arange(2000), 2000)}
    drawn = draw_metrics(measures, learners=2000, draws=400)["all"]
    [measured] = answers.count().values()
    for metric in ("recall", "precision", "alarm_rate"):
        share = getattr(measured, metric)
        cases = {"recall": measured.of_class, "precision": measured.named, "alarm_rate": 2000}
        error = (share * (1 - share) / cases[metric]) ** 0.5
        assert drawn[metric, "call"].mean() == pytest.approx(share, abs=0.3 * error)
        assert drawn[metric, "call"].std() == pytest.approx(error, rel=0.15)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.75]), st.booleans()), min_size=1, max_size=60
    )
)
def test_the_curve_is_scikit_learns_and_has_the_cost_of_every_threshold(
    rows: list[tuple[float, bool]],
) -> None:
    probabilities = np.array([row[0] for row in rows])
    is_class = np.array([row[1] for row in rows])
    curve = decision_curve(is_class, probabilities, Cost(miss=3, false_alarm=2))
    if not is_class.any():
        assert curve is None
        return
    assert curve is not None

    precision, recall, thresholds = precision_recall_curve(is_class, probabilities)
    assert curve.threshold == thresholds[::-1].tolist()
    assert curve.precision == pytest.approx(precision[:-1][::-1].tolist())
    assert curve.recall == pytest.approx(recall[:-1][::-1].tolist())
    for threshold, cost in zip(curve.threshold, curve.cost, strict=True):
        named = probabilities >= threshold
        expected = 3 * (is_class & ~named).sum() + 2 * (named & ~is_class).sum()
        assert cost == pytest.approx(expected / len(rows))


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    random = np.random.default_rng(3)
    probabilities = random.random(5000)
    curve = decision_curve(random.random(5000) < probabilities, probabilities, None)
    assert curve is not None
    assert 100 < len(curve.threshold) <= 200
    assert (curve.threshold[0], curve.threshold[-1]) == (probabilities.max(), probabilities.min())
    assert curve.recall[-1] == 1
    assert curve.cost == []


def test_a_decision_about_another_class_is_another_decision(tmp_path: Path) -> None:
    answered = tmp_path / "predictions.parquet"
    pl.DataFrame({"decision_call": [True], "decision_other": [True]}).write_parquet(answered)
    model = tmp_path / "model"
    assert decisions_of(model, answered, settings()) == {"call": None}  # not of Mastery

    (model / "assets.extra").mkdir(parents=True)
    point = ChosenPoint(name="call", class_="low", threshold=0.5)
    Calibration(examples=9, decisions=[point]).write(model)
    assert decisions_of(model, answered, settings()) == {"call": point}

    other = point.model_copy(update={"class_": "high"})
    Calibration(examples=9, decisions=[other]).write(model)
    assert decisions_of(model, answered, settings()) == {}


SaveModel = Callable[..., Path]


@pytest.fixture(scope="module")
def judged(
    tmp_path_factory: pytest.TempPathFactory,
    save_model: SaveModel,
    make_example: Callable[..., bytes],
    write_split: Callable[..., Path],
) -> Path:
    """An evaluation of a model that calls from 0.4 on, after one that called from 0.6 on."""
    folder = tmp_path_factory.mktemp("decisions")
    random = np.random.default_rng(4)
    examples = []
    for index in range(400):
        is_low = random.random() < 0.5
        low = np.round(np.clip(random.normal(0.6 if is_low else 0.35, 0.2), 0.01, 0.99), 2)
        examples.append(
            make_example(
                learner_id=f"learner {index // 2}",
                unit_id="u",
                as_of=10**15 + index,
                mastery="low" if is_low else "high",
                num_steps=1,
                gender="f" if index % 3 else "m",
                answer=np.float32([low, 1 - low]),
            )
        )
    split = write_split(folder / "Split-test", examples)
    models = {}
    for name, threshold in (("model", 0.4), ("baseline", 0.6)):
        models[name] = save_model(folder / name, CLASSES, decisions={"call": threshold})
        (models[name] / "assets.extra").mkdir()
        point = ChosenPoint(name="call", class_="low", threshold=threshold, purpose="cost")
        Calibration(examples=100, decisions=[point]).write(models[name])

    gates = [
        {"metric": "recall", "decision": "call", "min": 0.7, "confidence": 0.95},
        {"metric": "recall", "decision": "call", "min_change": 0.1},
        {"metric": "cost", "decision": "call", "slice": "gender", "max": 2.5},
        {"metric": "precision", "decision": "call", "slice": "gender", "max_gap": 0.01},
    ]
    rules = settings(decisions=[CALL], gates=gates)
    (folder / "evaluation").mkdir()
    judge_model(split, models["model"], models["baseline"], rules, folder / "evaluation")
    return folder / "evaluation"


def test_an_evaluation_measures_decisions_overall_and_by_slice(judged: Path) -> None:
    table = pl.read_parquet(judged / "predictions.parquet")
    low = table["probabilities"].list.get(0)
    assert table["decision_call"].to_list() == (low >= np.float32(0.4)).to_list()

    evaluation = Evaluation.read(judged)
    for result in (evaluation.overall, *evaluation.slices):
        where = getattr(result, "slice", {})
        part = table.filter(*(pl.col(name) == value for name, value in where.items()))
        named, is_low = part["decision_call"], part["label"] == "low"
        measured = result.decisions["call"]
        right = int((named & is_low).sum())
        assert measured.examples == len(part)
        assert measured.recall == right / is_low.sum()
        assert measured.precision == right / named.sum()
        assert measured.alarm_rate == named.mean()
        cost = 5 * int((is_low & ~named).sum()) + int((named & ~is_low).sum())
        assert measured.cost == pytest.approx(cost / len(part))
        assert measured.cost_of_all == pytest.approx(int((~is_low).sum()) / len(part))
        assert measured.cost_of_none == pytest.approx(5 * int(is_low.sum()) / len(part))
        assert {*measured.intervals} == {"recall", "precision", "alarm_rate", "cost"}
        for metric, (lower, upper) in measured.intervals.items():
            assert lower < getattr(measured, metric) < upper

    [decision] = evaluation.decisions
    assert (decision.name, decision.threshold, decision.purpose) == ("call", 0.4, "cost")
    assert decision.early_warning is None  # nothing says on which day the model was asked


def test_gates_on_decisions_are_judged_each_model_by_its_own_point(judged: Path) -> None:
    evaluation = Evaluation.read(judged)
    recall, change, cost, gap = evaluation.gates
    overall = evaluation.overall.decisions["call"]
    before = pl.read_parquet(judged / "predictions_baseline.parquet")
    assert evaluation.baseline is not None

    assert recall.text.startswith("recall of decision call >= 0.7: ")
    assert recall.interval == overall.intervals["recall"]
    low = before.filter(pl.col("label") == "low")
    assert low["decision_call"].mean() == change.baseline
    assert change.value == overall.recall
    assert change.text.startswith("change of recall of decision call >= +0.1: +")
    assert change.passed
    assert cost.text.startswith("cost of decision call in every gender <= 2.5: ")
    assert gap.text.startswith("gap of precision of decision call between slices of gender <= 0.01")
    assert not gap.passed
