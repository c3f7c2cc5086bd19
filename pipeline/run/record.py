"""What a run was: one `run.json` in the run's folder, readable while the run goes on."""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from components.contracts.provenance import DataProvenance
from components.errors import MasteryError
from components.files.atomic import write_text
from pipeline.layout import Layout

# In ML Metadata, a custom property of a run's context: the run that this one found unchanged.
REPEATS = "repeats"

RunState = Literal["running", "passed", "gates failed", "failed", "interrupted", "no new data"]


class NodeRecord(BaseModel):
    """One node of a run."""

    id: str
    state: Literal["waiting", "running", "done", "cached", "failed", "interrupted"] = "waiting"
    seconds: float | None = None


class SeenBefore(BaseModel):
    """The run that a run without new data goes back to."""

    run: str
    pushed_version: str | None = None  # path of the version's folder; None where its gates failed


class RunRecord(BaseModel):
    """One run: how it stands, and where its results are."""

    run: str
    name: str
    state: RunState = "running"
    started: datetime
    seconds: float | None = None
    pid: int | None = None
    nodes: list[NodeRecord] = Field(default_factory=list)
    data: DataProvenance | None = None  # what it was given
    seen_before: SeenBefore | None = None
    metrics: str | None = None  # path of metrics.json
    report: str | None = None  # path of report.html
    pushed_version: str | None = None  # path of the version's folder
    warnings: list[str] = Field(
        default_factory=list
    )  # what a person should know of a run that went well
    error: str | None = None

    @property
    def alive(self) -> bool:
        """Whether the process that wrote `running` is still there."""
        if self.state != "running" or self.pid is None:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def new_run_id() -> str:
    """Returns a name for a run that sorts by time and never collides."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def write_record(folder: Path, record: RunRecord) -> None:
    """Writes `run.json`, whole or not at all."""
    write_json(folder / "run.json", record.model_dump(mode="json"))


def write_json(path: Path, value: Any) -> None:
    """Writes a small JSON file, whole or not at all; a reader never sees half of it."""
    write_text(path, json.dumps(value, indent=1))


def read_records(root: Path, name: str | None = None) -> list[RunRecord]:
    """Returns the runs below `root`, oldest first; of every pipeline, or of the one called `name`.

    Raises:
        MasteryError: a record cannot be read.
    """
    files = sorted(root.glob(f"{name or '*'}/runs/*/run.json"), key=lambda file: file.parent.name)
    records = [_read_record(file) for file in files]
    return [
        record if record.alive or record.state != "running" else _died(record) for record in records
    ]


def _read_record(file: Path) -> RunRecord:
    try:
        return RunRecord.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        why = (
            error.strerror
            if isinstance(error, OSError)
            else f"something else ({type(error).__name__})"
        )
        raise MasteryError(
            f"{file}: expected the record of a run, found {why}. Remove its folder, or put the file right."
        ) from None


def _died(record: RunRecord) -> RunRecord:
    """A run whose process is gone without a word was interrupted."""
    return record.model_copy(update={"state": "interrupted", "pid": None})


def run_folder(layout: Layout, run_id: str) -> Path:
    """Returns the folder of a run."""
    return layout.runs / run_id
