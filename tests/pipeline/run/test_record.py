"""The record of a run: whole on disk, and honest about runs whose process is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from components.contracts.run_record import NodeRecord, RunRecord
from pipeline.layout import Layout
from pipeline.run.record import new_run_id, read_records


def record(layout: Layout, **changes: object) -> RunRecord:
    run = new_run_id()
    made = RunRecord.model_validate(
        {"run": run, "name": layout.name, "started": datetime.now(UTC), **changes}
    )
    made.write(layout.run(run))
    return made


def test_records_come_back_as_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "algebra")
    written = record(
        layout,
        state="passed",
        seconds=12.5,
        nodes=[NodeRecord(id="Trainer", state="done", seconds=3.0)],
    )
    assert read_records(tmp_path) == [written]
    assert read_records(tmp_path, "other") == []
    assert [file.name for file in layout.run(written.run).iterdir()] == ["run.json"]


def test_a_running_record_lives_as_long_as_its_process(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "algebra")
    record(layout, state="running", pid=os.getpid())
    assert read_records(tmp_path)[0].state == "running"
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    record(layout, state="running", pid=dead.pid)
    assert sorted(item.state for item in read_records(tmp_path)) == ["interrupted", "running"]


def test_run_ids_never_collide_and_sort_by_time() -> None:
    ids = [new_run_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert sorted(item[:15] for item in ids) == [item[:15] for item in ids]
