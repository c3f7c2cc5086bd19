"""The records of runs below a root: one `run.json` in each run's folder."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

from components.contracts.contract import ContractError
from components.contracts.run_record import RunRecord
from components.errors import MasteryError


def new_run_id() -> str:
    """Returns a name for a run that sorts by time and never collides."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def read_records(root: Path, name: str | None = None) -> list[RunRecord]:
    """Returns the runs below `root`, oldest first; a run whose process is gone is `interrupted`.

    Args:
        root: the folder that keeps everything.
        name: only runs of the pipeline of this name.

    Raises:
        MasteryError: a record cannot be read.
    """
    files = root.glob(f"{name or '*'}/runs/*/{RunRecord.FILE}")
    by_run = sorted(files, key=lambda file: file.parent.name)
    return [_mark_if_dead(_read(file)) for file in by_run]


def _read(file: Path) -> RunRecord:
    try:
        return RunRecord.read_file(file)
    except ContractError as error:
        raise MasteryError(f"{error} If the file is damaged, remove its folder.") from None


def _mark_if_dead(record: RunRecord) -> RunRecord:
    """Returns the record, as interrupted if its process ended without writing how."""
    if record.state != "running" or record.alive:
        return record
    return record.model_copy(update={"state": "interrupted", "pid": None})
