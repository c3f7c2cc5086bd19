"""The program of a container, run in this process and without TFX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.kubeflow import container
from tests.pipeline.run.fake_nodes import SEEN, Modules, install
from tests.s3 import Bucket

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"


@pytest.fixture
def log(tmp_path: Path) -> list[str]:
    """The log, as options."""
    options = []
    for table in ("events", "outcomes"):
        (tmp_path / f"{table}.csv").write_text("learner_id,unit_id\n")
        options += ["--set", f"data.{table}={tmp_path}/{table}.csv"]
    return options


def run(folder: Path, log: list[str], *arguments: str, **parameters: Any) -> int:
    """Runs the container's program; with parameters also as Kubeflow would start it."""
    asked = {
        "inputs": {"parameterValues": parameters},
        "outputs": {"outputFile": str(folder / "output.json"), "artifacts": {}},
    }
    given = ["--executor-input", json.dumps(asked)] if parameters else []
    common = ["--config", str(SAMPLE), *log, "--root", str(folder / "root"), "--run", "first"]
    return container.main([*common, *arguments, *given])


def parameters_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "output.json").read_text())["parameterValues"]
    return values


def test_nodes_run_in_order_and_new_data_is_an_output_parameter(
    tmp_path: Path, log: list[str], modules: Modules, capfd: pytest.CaptureFixture[str]
) -> None:
    launched = install(modules, tmp_path)
    nodes = "ExampleGen,StatisticsGen,WarmStartResolver"
    assert run(tmp_path, log, "--nodes", nodes, gates="", only_new_data=False) == 0
    assert [node for node, _ in launched] == ["ExampleGen", "StatisticsGen"]
    lines = [line for line in capfd.readouterr().out.splitlines() if "prints this" not in line]
    assert lines == [
        "ExampleGen           started",
        "ExampleGen           done after 1.5 s",
        "StatisticsGen        started",
        "StatisticsGen        done after 1.5 s",
        "WarmStartResolver    not part of this run",
    ]
    assert parameters_of(tmp_path) == {"new_data": True}
    assert [*(tmp_path / "root" / "sample" / "schemas").iterdir()]


def test_without_new_data_the_output_parameter_is_false_and_no_other_node_runs(
    tmp_path: Path, log: list[str], modules: Modules, capfd: pytest.CaptureFixture[str]
) -> None:
    launched = install(modules, tmp_path, seen=SEEN)
    assert run(tmp_path, log, "--nodes", "ExampleGen,StatisticsGen", only_new_data=True) == 0
    assert [node for node, _ in launched] == ["ExampleGen"]
    assert f"no new data since run {SEEN.run}" in capfd.readouterr().out
    assert parameters_of(tmp_path) == {"new_data": False}


def test_a_node_that_fails_is_named_and_no_outputs_are_written(
    tmp_path: Path, log: list[str], modules: Modules, capfd: pytest.CaptureFixture[str]
) -> None:
    install(modules, tmp_path, failing="StatisticsGen")
    assert run(tmp_path, log, "--nodes", "ExampleGen,StatisticsGen", gates="") == 2
    *_, failed, reason = capfd.readouterr().out.splitlines()
    assert failed == "StatisticsGen        failed"
    assert reason.startswith("unexpected RuntimeError: StatisticsGen is broken. The details are in")
    assert not (tmp_path / "output.json").exists()


def test_a_container_whose_nodes_are_not_part_of_the_run_loads_nothing(
    tmp_path: Path, log: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, log, "--nodes", "WarmStartResolver") == 0
    assert capfd.readouterr().out == "WarmStartResolver    not part of this run\n"
    assert not (tmp_path / "root" / "metadata.sqlite").exists()


def test_a_missing_log_is_an_error_before_anything_runs(
    tmp_path: Path, log: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.csv").unlink()
    assert run(tmp_path, log, "--nodes", "ExampleGen") == 2
    assert f"{tmp_path}/events.csv" in capfd.readouterr().out
    assert not (tmp_path / "root").exists()


def test_the_schema_goes_to_the_object_store_before_the_nodes(
    tmp_path: Path, log: list[str], modules: Modules, bucket: Bucket
) -> None:
    install(modules, tmp_path)
    storage = ["--storage", f"s3://{bucket.name}/root"]
    assert run(tmp_path, log, "--nodes", "StatisticsGen", *storage) == 0
    [schema] = bucket.names()
    assert schema.startswith("root/sample/schemas/")


def test_the_exit_handler_writes_how_the_run_ended(
    tmp_path: Path, log: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, log, "--finish", gates="") == 0
    never = "ExampleGen was never started; see Kubeflow for the reason."
    assert never in capfd.readouterr().out
    record = json.loads((tmp_path / "root" / "sample" / "runs" / "first" / "run.json").read_text())
    assert (record["format"], record["state"]) == (1, "failed")
    assert parameters_of(tmp_path) == {}
