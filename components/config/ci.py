"""The small training that a change of code or configuration is judged by, before anybody trusts it."""

from __future__ import annotations

from pydantic import Field

from components.config.gates import Gate, OverallMetricName
from components.config.section import Section


class Ci(Section):
    """How `mastery ci` trains and judges; a run of `mastery run` never looks at it."""

    learners: int = Field(
        1000, ge=1, description="most learners to train and judge with, chosen by a hash"
    )
    epochs: int = Field(3, ge=1, description="most passes over the training split")
    gates: list[Gate] | None = Field(
        None,
        description="what the small training has to reach; default: the gates of the configuration",
        min_length=1,
    )
    metric: OverallMetricName | None = Field(
        None,
        description="what may not be worse than the baseline; default: the first gate's, with its class",
    )
    tolerance: float = Field(
        0.0, ge=0, description="how much worse than the baseline that metric may be"
    )
