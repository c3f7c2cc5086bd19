"""Artifact types of our own, beside TFX's standard ones."""

from __future__ import annotations

from tfx.types.artifact import Artifact


class DataVerdict(Artifact):  # type: ignore[misc]
    """DataGate's verdict on a run's examples: `verdict.json`."""

    TYPE_NAME = "DataVerdict"


class RunReport(Artifact):  # type: ignore[misc]
    """The results of a run: `report.html` for people and `metrics.json` for machines."""

    TYPE_NAME = "RunReport"
