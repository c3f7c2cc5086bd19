"""Means, deviations, errors and gains over folds, against NumPy and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.cross_validation import Spread
from components.contracts.evaluation import Evaluation
from components.errors import MasteryError
from pipeline.cross_validation.table import make_table, table_metrics


def evaluation(
    auc: float | None, trees: float | None = None, *, log_loss: float = 0.5, **slices: float
) -> Evaluation:
    """Returns what a fold measured; slices are of the column `team`."""

    def results(auc: float | None, shift: float) -> dict[str, Any]:
        return {
            "overall": {"examples": 10, "metrics": {"auc": auc, "log_loss": log_loss + shift}},
            "slices": [
                {"slice": {"team": name}, "examples": 4, "metrics": {"auc": value - shift}}
                for name, value in slices.items()
            ],
        }

    simple = [] if trees is None else [{"name": "trees", "meaning": "t", **results(trees, 0.125)}]
    return Evaluation.model_validate(
        {"task": "classification", "simple_models": simple, **results(auc, 0.0)}
    )


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_a_spread_is_numpy_s_mean_and_sample_deviation(folds: list[float]) -> None:
    spread = Spread.over(folds)
    assert spread.mean == pytest.approx(np.mean(folds), rel=1e-9, abs=1e-6)
    assert spread.deviation == pytest.approx(np.std(folds, ddof=1), rel=1e-6, abs=1e-6)
    error = np.std(folds, ddof=1) / math.sqrt(len(folds))
    assert spread.error == pytest.approx(error, rel=1e-6, abs=1e-6)


def test_folds_without_a_value_are_left_out() -> None:
    spread = Spread.over([0.5, None, 1.0])
    assert (spread.mean, spread.folds) == (0.75, [0.5, None, 1.0])
    assert spread.deviation == pytest.approx(math.sqrt(0.125))
    assert spread.error == pytest.approx(0.25)
    assert Spread.over([0.5, None]) == Spread(
        mean=0.5, deviation=None, error=None, folds=[0.5, None]
    )
    assert Spread.over([None]).mean is None


def test_gains_are_paired_by_fold() -> None:
    # Folds differ much, and the gain hardly: unpaired, its error would be that of the folds.
    table = make_table([evaluation(0.75, 0.5), evaluation(0.5, 0.25), evaluation(1.0, 0.5)])
    auc = table.overall.metrics["auc"]
    trees = auc.simple_models["trees"]
    assert auc.value.folds == [0.75, 0.5, 1.0]
    assert trees.value.folds == [0.5, 0.25, 0.5]
    assert trees.gain.folds == [0.25, 0.25, 0.5]
    assert trees.gain.mean == pytest.approx(1 / 3)
    assert trees.gain.error == pytest.approx(np.std([0.25, 0.25, 0.5], ddof=1) / math.sqrt(3))
    assert table.simple_models == {"trees": "t"}


def test_a_lower_loss_is_a_gain() -> None:
    table = make_table([evaluation(0.75, 0.5), evaluation(0.75, 0.5, log_loss=0.25)])
    loss = table.overall.metrics["log_loss"].simple_models["trees"]
    assert loss.value.folds == [0.625, 0.375]
    assert loss.gain.folds == [0.125, 0.125]


def test_a_slice_is_averaged_over_the_folds_that_report_it() -> None:
    folds = [evaluation(0.5, 0.5, a=0.25), evaluation(0.5, 0.5, a=0.75, b=0.5)]
    table = make_table(folds)
    first, second = table.slices
    assert (first.slice, first.examples) == ({"team": "a"}, [4, 4])
    assert (second.slice, second.examples) == ({"team": "b"}, [0, 4])
    assert first.metrics["auc"].value.mean == 0.5
    assert first.metrics["auc"].simple_models["trees"].gain.folds == [0.125, 0.125]
    assert second.metrics["auc"].value.folds == [None, 0.5]
    assert second.metrics["auc"].simple_models["trees"].gain.folds == [None, 0.125]
    assert [*first.metrics] == ["auc"]  # no fold has its log loss


def test_an_undefined_metric_has_no_gain() -> None:
    table = make_table([evaluation(None, 0.5), evaluation(0.75, 0.5)])
    assert table.overall.metrics["auc"].simple_models["trees"].gain.folds == [None, 0.25]


def test_folds_with_other_simple_models_do_not_mix() -> None:
    with pytest.raises(MasteryError, match=r"simple models \['trees'\] in every fold, found .* 1"):
        make_table([evaluation(0.5, 0.5), evaluation(0.5)])


def test_the_foremost_metrics_of_both_tasks() -> None:
    assert table_metrics("classification") == ["f1_macro", "accuracy", "auc", "log_loss", "ece"]
    assert table_metrics("regression") == ["rmse", "mae", "r2"]
