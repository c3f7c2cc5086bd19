"""Ctrl-C in the middle of a run, and the run after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from components.contracts.run_record import NodeRecords
from tests.end_to_end.conftest import COMMAND, Mastery, environment

pytestmark = pytest.mark.slow
PATIENCE = 600  # seconds until the Trainer must have started, even on a busy machine


def wait_for(node: str, root: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for file in root.glob("sample/runs/*/nodes.json"):
            nodes = NodeRecords.read_file(file).nodes
            if any(item.id == node and item.state == "running" for item in nodes):
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
    output, errors = process.communicate(timeout=2)
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
