"""How far another split lies from the train split, feature by feature.

Not TFDV's Jensen-Shannon divergence, which finds splits of one log far apart where values are missing or tails long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.report.facts import FeatureFacts

FAR_MEAN = 0.25  # standard deviations: the bound of D. B. Rubin, Health Services & Outcomes Research Methodology 2, 2001
FAR_SHARE = 0.1


@dataclass(frozen=True)
class Drift:
    """How a feature differs in another split; None where a measure has no meaning."""

    mean: float | None  # of numbers: change of the mean, in standard deviations of the train split
    share: float | None  # of categories: largest change of a value's share
    missing: float  # change of the share that is missing

    @property
    def is_far(self) -> bool:
        """Whether it is worth a look."""
        return (
            abs(self.mean or 0) >= FAR_MEAN
            or (self.share or 0) >= FAR_SHARE
            or self.misses_differently
        )

    @property
    def misses_differently(self) -> bool:
        """Whether clearly more or less is missing."""
        return abs(self.missing) >= FAR_SHARE


def measure_drift(train: FeatureFacts, other: FeatureFacts) -> Drift:
    """Compares a feature's values in two splits."""
    names = {*train.shares, *other.shares}
    changes = [abs(other.shares.get(name, 0.0) - train.shares.get(name, 0.0)) for name in names]
    return Drift(
        mean=_shift(train, other),
        share=max(changes, default=None),
        missing=(other.missing or 0.0) - (train.missing or 0.0),
    )


def _shift(train: FeatureFacts, other: FeatureFacts) -> float | None:
    if train.mean is None or other.mean is None:
        return None
    if train.mean == other.mean:
        return 0.0
    change = other.mean - train.mean
    return change / train.deviation if train.deviation else math.copysign(math.inf, change)
