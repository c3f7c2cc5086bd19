"""Predicted against actual values of a regression, binned small enough to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from components.contracts.names import PREDICTION
from components.report.facts import Bars, RegressionFacts

GRID = 24
RESIDUAL_BINS = 25


def read_residuals(predictions: Path) -> RegressionFacts | None:
    """Returns a regression's predictions as counts; None without any.

    Args:
        predictions: Parquet with columns `label` and `prediction`.
    """
    if not predictions.exists():
        return None
    frame = pl.read_parquet(predictions, columns=["label", PREDICTION]).drop_nulls()
    if frame.is_empty():
        return None
    actual, predicted = (
        frame[name].to_numpy().astype(np.float64) for name in ("label", PREDICTION)
    )
    edges = np.histogram_bin_edges(np.concatenate([actual, predicted]), bins=GRID)
    grid, _, _ = np.histogram2d(actual, predicted, bins=(edges, edges))
    counts, residual_edges = np.histogram(predicted - actual, bins=RESIDUAL_BINS)
    return RegressionFacts(
        edges=edges.tolist(),
        grid=grid.astype(int).tolist(),
        residuals=Bars(edges=residual_edges.tolist(), counts=counts.astype(float).tolist()),
    )
