"""`manifest.json`: what made a pushed version."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from components.contracts.contract import Contract, Part
from components.contracts.decision_results import DecisionMetrics, Purpose
from components.contracts.names import PORTABLE
from components.contracts.provenance import DataProvenance


class RecordedGate(Part):
    """How one gate went; further keys that the Evaluator recorded are kept unchanged.

    Attributes:
        text: the whole verdict in one line.
        passed: whether the gate passed.
    """

    model_config = ConfigDict(extra="allow")

    text: str
    passed: bool


class RecordedDecision(Part):
    """A decision that the version takes, as it went on the test split.

    Attributes:
        name: the model answers `decision_<name>`.
        class_: the class it is about.
        threshold: the lowest probability at which it is taken.
        purpose: by which key of the configuration the point was chosen.
        aim: the value of that key; None for `cost`.
        note: why the point is not what was aimed at; None where it is.
        measured: on all test examples.
        early_warning: how early it is right, in a sentence; empty where days are not known.
    """

    name: str
    class_: str = Field(alias="class")
    threshold: float
    purpose: Purpose = "threshold"
    aim: float | None = None
    note: str | None = None
    measured: DecisionMetrics | None = None
    early_warning: str = ""


class Manifest(Contract):
    """What made a pushed version, and the digests of its files.

    The Pusher writes every field. A version that somebody copied or made by other means may lack
    any of them, so a manifest can be read without them; where a missing one prevents something, the
    attribute says so.

    Attributes:
        version: the version's number; promoting a folder of another number has to be forced.
        name: the model's name; the server and `models.config` use it.
        run: id of the run that pushed it.
        pushed_at: when, ISO 8601 in UTC.
        pushed_by: who; see `components.contracts.serving_state.who_pushes`. Approvals of the
            same person do not count.
        audit_head: digest of the audit log at that moment, which shows later whether the log still
            has these entries; None before the first one.
        data: where the examples came from.
        code: fingerprint of the code that made the model.
        config: the configuration, without the sections that only set where nodes run; needed to
            compare the version, evaluate it on another log, or send requests to it.
        config_fingerprint: digest of `config`.
        metrics: metrics on all test examples, by name.
        decisions: which decisions it takes; a version without any, or an older one, has none.
        gates: how the gates went; without it, promoting the version has to be forced.
        model_sha256: digest of `files`.
        files: SHA-256 of each file of the model, by its path below the version's folder. `files`,
            or else `model_sha256`, is needed to verify the version.
        release: the same for the version's papers; empty for versions that have none.
        exports: folders of the exports, by name.
        baseline: URI of the blessed model that the gates compared with.
    """

    FILE: ClassVar[str] = "manifest.json"

    version: int | None = None
    name: str | None = None
    run: str | None = None
    pushed_at: str | None = None
    pushed_by: str | None = None
    audit_head: str | None = None
    data: DataProvenance | None = None
    code: str | None = None
    config: dict[str, Any] | None = None
    config_fingerprint: str | None = None
    metrics: dict[str, float | None] | None = None
    decisions: list[RecordedDecision] = []
    gates: list[RecordedGate] | None = None
    model_sha256: str | None = None
    files: dict[str, str] | None = None
    release: dict[str, str] = {}
    exports: dict[str, str] = {PORTABLE: "."}
    baseline: str | None = None

    @property
    def has_digests(self) -> bool:
        """Whether it records what the files were when they were pushed."""
        return self.files is not None or self.model_sha256 is not None
