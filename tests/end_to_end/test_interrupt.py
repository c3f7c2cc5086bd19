"""Ctrl-C in the middle of a run, and the run after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ml_metadata.proto.metadata_store_pb2 import Execution

from components.config import Metadata
from components.contracts.run_record import NodeRecords, RunRecord
from components.node.this_machine import usable_cores
from pipeline.layout import Layout
from pipeline.store.connection import connect_to_store, connection_config
from tests.end_to_end.conftest import COMMAND, Mastery, environment

pytestmark = pytest.mark.slow
PATIENCE = 600  # seconds until the Trainer must have started, even on a busy machine


def wait_for(node: str | set[str], root: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a node runs, or several do at the same time."""
    wanted = {node} if isinstance(node, str) else node
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for file in root.glob("sample/runs/*/nodes.json"):
            nodes = NodeRecords.read_file(file).nodes
            if wanted <= {item.id for item in nodes if item.state == "running"}:
                return
        time.sleep(0.1)
    raise AssertionError(f"{node} did not start within {PATIENCE} s")


def children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


def test_ctrl_c_leaves_nothing_half_written_and_the_next_run_resumes(
    mastery: Mastery, sample: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    endless = ["--set", "training.epochs=500", "--set", "training.patience=500"]
    process = subprocess.Popen(
        [*COMMAND, "run", *sample, *endless, "--root", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    wait_for("Trainer", tmp_path, process)
    [worker] = children(process.pid)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130, output + errors
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert "interrupted" in output
    assert "Traceback" not in output + errors
    assert not [*scratch.iterdir()]
    nodes = tmp_path / "sample" / "nodes"
    assert (nodes / "Transform" / "transform_graph").is_dir()
    assert not [file for file in (nodes / "Trainer").rglob("*") if file.is_file()]

    resumed = mastery("run", *sample, "--root", tmp_path)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    [first, second] = json.loads(mastery("runs", "--root", tmp_path, "--json").stdout)
    assert first["state"] == "interrupted"
    states = {node["id"]: node["state"] for node in second["nodes"]}
    assert states["Transform"] == "cached"
    assert states["Trainer"] == "done"
    assert not [*scratch.iterdir()]


def test_two_nodes_that_run_are_both_interrupted_and_leave_nothing(
    sample: list[str], tmp_path: Path
) -> None:
    beside = {"StatisticsGen", "Transform"} if usable_cores() > 1 else {"StatisticsGen"}
    process = subprocess.Popen(
        [*COMMAND, "run", *sample, "--root", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    wait_for(beside, tmp_path, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 130, output + errors
    assert "Traceback" not in output + errors

    [file] = tmp_path.glob("sample/runs/*/run.json")
    record = RunRecord.read_file(file)
    assert {node.id for node in record.nodes if node.state == "interrupted"} == beside
    for node in beside:
        folder = tmp_path / "sample" / "nodes" / node
        assert not [path for path in folder.rglob("*") if path.is_file()]
    store = connect_to_store(connection_config(Metadata(), Layout(tmp_path, "sample")))
    states = {item.last_known_state for item in store.get_executions()}
    assert Execution.RUNNING not in states
