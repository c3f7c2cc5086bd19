"""The record of a run: whole on disk, and `interrupted` once the run's process is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.contracts.run_record import NodeRecord, NodeRecords, RunRecord
from components.errors import MasteryError
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


OLD = {
    "run": "20251120-040000-abc123", "name": "algebra", "state": "gates failed",
    "started": "2025-11-20T04:00:00Z", "seconds": 90.5, "pid": None,
    "nodes": [{"id": "ExampleGen", "state": "cached", "seconds": 0.5}],
    "data": {"fingerprint": "xyz", "span": 3, "spans": ["3"], "version": 1},
    "seen_before": None, "metrics": "/runs/metrics.json", "report": "/runs/report.html",
    "pushed_version": None, "warnings": [], "error": None,
}  # fmt: skip


def write(root: Path, content: object) -> Path:
    file = Layout(root, "algebra").run(str(OLD["run"])) / "run.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    return file


def test_a_record_from_before_formats_were_counted_is_read(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    [record] = read_records(tmp_path)
    assert record.format == 1
    added = {"format": True, "retraining": True, "nodes": {"__all__": {"started", "peak_mib"}}}
    assert record.model_dump(mode="json", exclude=added) == OLD


def test_a_record_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, {**OLD, "format": 2})
    newer = "found 2: a newer version of Mastery wrote it"
    with pytest.raises(MasteryError, match=newer) as caught:
        read_records(tmp_path)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_record_that_is_damaged_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "half")
    with pytest.raises(MasteryError, match="If the file is damaged, remove its folder") as caught:
        read_records(tmp_path)
    assert str(caught.value).startswith(f"{file}: expected run.json of Mastery")


def test_the_process_of_another_user_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    record(Layout(tmp_path, "algebra"), state="running", pid=1)
    monkeypatch.setattr(os, "kill", refuse)
    assert read_records(tmp_path)[0].state == "running"


@pytest.mark.parametrize("pid", [0, -1, 10**30])
def test_a_number_that_no_process_can_have_is_of_a_run_that_is_over(
    tmp_path: Path, pid: int
) -> None:
    record(Layout(tmp_path, "algebra"), state="running", pid=pid)
    assert read_records(tmp_path)[0].state == "interrupted"


def test_states_of_nodes_are_read_from_an_older_list_too() -> None:
    node = {"id": "Trainer", "state": "running", "seconds": None}
    now = NodeRecords.from_json(json.dumps({"format": 1, "nodes": [node]}))
    assert NodeRecords.from_json(json.dumps([node])) == now
