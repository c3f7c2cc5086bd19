"""`watch.json`: what `mastery watch` found about a model in service."""

from __future__ import annotations

from typing import ClassVar, Literal

from components.contracts.contract import Contract, Part
from components.contracts.drift_report import DriftReport
from components.contracts.quality_report import QualityReport

FindingKind = Literal["drift", "quality", "freshness", "versions"]


class Finding(Part):
    """Something that calls for attention.

    Attributes:
        kind: what it is about.
        key: the same for the same finding another day; who was told once is not told again.
        text: what was found and what to do, in sentences.
    """

    kind: FindingKind
    key: str
    text: str


class LogFreshness(Part):
    """How old the log is.

    Attributes:
        newest_span: name of the newest delivery; None for a log without spans.
        newest_event: time of the newest event in it, ISO 8601 in UTC; None where times are no
            dates, or it could not be read.
        max_age_days: how old it may be.
        note: why its age is not known.
    """

    newest_span: str | None = None
    newest_event: str | None = None
    max_age_days: float
    note: str | None = None


class VersionInService(Part):
    """A version that answers, or was taken out of service.

    Attributes:
        version: its number; None where all of the model was stopped.
        label: `stable`, `canary` or `stopped`; `newest` where none was promoted yet.
        share: percent of the requests that it is to get; None where it gets none.
        stopped: by whom, when and why.
    """

    version: int | None
    label: Literal["stable", "canary", "newest", "stopped"]
    share: int | None = None
    stopped: str | None = None


class WatchReport(Contract):
    """What was found about a model in service.

    Attributes:
        name: of the model.
        as_of: when, ISO 8601 in UTC.
        findings: what calls for attention; empty while all is well.
        told: keys of the findings that people have been told about.
        log: how old the log is.
        versions: in service, and stopped.
        drift: new data beside those of the version in service; None where it was not measured.
        quality: of the answers; None where it was not measured.
        notes: what was not measured, and why.
    """

    FILE: ClassVar[str] = "watch.json"

    name: str
    as_of: str
    findings: list[Finding]
    told: list[str] = []
    log: LogFreshness
    versions: list[VersionInService] = []
    drift: DriftReport | None = None
    quality: QualityReport | None = None
    notes: list[str] = []

    @property
    def calls_for_attention(self) -> bool:
        """Whether anything was found."""
        return bool(self.findings)
