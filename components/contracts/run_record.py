"""What a run leaves in its folder: its record, and the files that its processes exchange."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from components.config.retrain import Occasion
from components.contracts.contract import Contract, Part
from components.contracts.provenance import DataProvenance
from components.html_table import HtmlTable, join_html

RUN_FOLDER = "MASTERY_RUN_DIR"  # environment variable: the folder of the run that a node belongs to
REPORT_FILE = "report.html"

RunState = Literal["running", "passed", "gates failed", "failed", "interrupted", "no new data"]
NodeState = Literal["waiting", "running", "done", "cached", "failed", "interrupted"]


class NodeRecord(BaseModel):
    """One node of a run.

    Attributes:
        id: the node's id.
        state: whether it waits or runs, or how it ended.
        started: when it began; None while it waits, and in records of before this was noted.
        seconds: how long it took; None until it has ended.
        peak_mib: the most memory that its process had in use, in MiB; None if that is unknown.
    """

    id: str
    state: NodeState = "waiting"
    started: datetime | None = None
    seconds: float | None = None
    peak_mib: int | None = None


class SeenBefore(BaseModel):
    """The run that a run without new data would have repeated."""

    run: str
    pushed_version: str | None = None  # path of the version's folder; None where its gates failed


class Retraining(Part):
    """Why a run trains again.

    Attributes:
        when: the occasion that was looked for; `retrain.when`.
        why: what was found, in a sentence.
        columns: what has drifted; empty for other occasions.
        version: number of the version in service at that time; None if there was none.
        decided_at: when this was decided.
    """

    when: Occasion
    why: str
    columns: list[str] = []
    version: int | None = None
    decided_at: datetime


class RunRecord(Contract, frozen=False):
    """One run: its state, and where its results are.

    Attributes:
        run: the run's id.
        name: the pipeline's name.
        state: whether it runs, or how it ended.
        started: when it began.
        seconds: how long it took; None while it runs.
        pid: the process that runs it on this machine.
        nodes: its nodes in the order they run.
        data: which data it read.
        seen_before: the earlier run that it would have repeated.
        metrics: path of `metrics.json`.
        report: path of `report.html`.
        pushed_version: path of the pushed version's folder.
        warnings: what a person should know, although the run did not fail.
        error: why it failed.
        retraining: why the model was trained again, if `mastery retrain` decided it.
    """

    FILE: ClassVar[str] = "run.json"

    run: str
    name: str
    state: RunState = "running"
    started: datetime
    seconds: float | None = None
    pid: int | None = None
    nodes: list[NodeRecord] = Field(default_factory=list)
    data: DataProvenance | None = None
    seen_before: SeenBefore | None = None
    metrics: str | None = None
    report: str | None = None
    pushed_version: str | None = None
    warnings: list[str] = Field(default_factory=list)
    error: str | None = None
    retraining: Retraining | None = None

    def _repr_html_(self) -> str:
        rows = [
            [node.id, node.state, "" if node.seconds is None else f"{node.seconds:.1f}"]
            for node in self.nodes
        ]
        table = HtmlTable(f"Run {self.run}", ["Node", "State", "Seconds"], rows, {2})
        return join_html(table, f"{self.state}", *self.warnings, *filter(None, [self.error]))

    @property
    def alive(self) -> bool:
        """Whether the process that runs it still exists."""
        if self.state != "running" or self.pid is None or self.pid < 1:
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):  # too large for any process
            return False
        except PermissionError:
            return True
        return True


class NodeRecords(Contract):
    """The states of a run's nodes while it runs."""

    FILE: ClassVar[str] = "nodes.json"

    nodes: list[NodeRecord] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _list_of_before(cls, content: Any) -> Any:
        """Reads the bare list that the file held before formats were counted."""
        return {"nodes": content} if isinstance(content, list) else content


class RunResult(Contract, frozen=False):
    """What the nodes of a run have produced so far; written by the worker when it ends.

    Attributes:
        log: path of the log of the node that failed. The others are as in `RunRecord`.
    """

    FILE: ClassVar[str] = "result.json"

    metrics: str | None = None
    report: str | None = None
    pushed_version: str | None = None
    data: DataProvenance | None = None
    seen_before: SeenBefore | None = None
    warnings: list[str] = Field(default_factory=list)
    error: str | None = None
    log: str | None = None
