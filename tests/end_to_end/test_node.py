"""The program of the pipeline's containers, run as a process on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import REPOSITORY, environment

pytestmark = pytest.mark.slow

DATA = ["ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "DataGate"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


def run(
    *arguments: str | Path, outputs: Path | None = None, **parameters: Any
) -> subprocess.CompletedProcess[str]:
    """Runs the container's program, with Kubeflow's executor input for some summaries."""
    artifacts = {}
    for name in ("example_gen_summary", "data_gate_summary", "run_summary"):
        artifact = {
            "name": name,
            "type": {"schemaTitle": "system.Markdown"},
            "uri": str((outputs or Path("/")) / name),
        }
        artifacts[name] = {"artifacts": [artifact]}
    given = {
        "inputs": {"parameterValues": parameters},
        "outputs": {
            "outputFile": str((outputs or Path("/")) / "output.json"),
            "artifacts": artifacts,
        },
    }
    command = [sys.executable, "-m", "pipeline.kubeflow.container", *map(str, arguments)]
    command += ["--executor-input", json.dumps(given)] if outputs else []
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=environment(), check=False
    )


def test_nodes_run_and_show_what_they_did(sample: list[str], root: Path, tmp_path: Path) -> None:
    ran = run(
        *sample, "--root", root, "--run", "first",
        "--nodes", ",".join([*DATA, "WarmStartResolver"]),
        outputs=tmp_path, events="", gates="", only_new_data=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = [line.split()[:2] for line in ran.stdout.splitlines()]
    assert lines == [
        *([node, state] for node in DATA for state in ("started", "done")),
        ["WarmStartResolver", "not"],
    ]
    assert "600 learners" in (tmp_path / "example_gen_summary").read_text(encoding="utf-8")
    assert "No anomalies" in (tmp_path / "data_gate_summary").read_text(encoding="utf-8")
    output = json.loads((tmp_path / "output.json").read_text())
    assert output["parameterValues"] == {"new_data": True}


def test_the_exit_handler_reads_the_end_from_the_metadata_store(
    sample: list[str], root: Path, tmp_path: Path
) -> None:
    ended = run(*sample, "--root", root, "--run", "first", "--finish", outputs=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Transform was never started" in ended.stdout
    file = root / "sample" / "runs" / "first" / "run.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    states = {node["id"]: node["state"] for node in record["nodes"]}
    assert record["state"] == "failed"
    assert {states[node] for node in DATA} == {"done"}
    assert states["Trainer"] == "waiting"
    assert "| DataGate | done |" in (tmp_path / "run_summary").read_text(encoding="utf-8")


def test_a_parameter_that_does_not_fit_is_reported_before_anything_runs(
    sample: list[str], root: Path, tmp_path: Path
) -> None:
    absent = tmp_path / "absent.parquet"
    arguments = [*sample, "--root", root, "--run", "second", "--nodes", "ExampleGen"]
    ran = run(*arguments, outputs=tmp_path, events=str(absent))
    assert ran.returncode == 2
    assert f"{absent}: expected a file or folder of events" in ran.stdout
    wrong = run(*arguments, outputs=tmp_path, gates="[{metric: f2}]")
    assert wrong.returncode == 2
    assert "gates" in wrong.stdout
    assert not (tmp_path / "output.json").exists()
