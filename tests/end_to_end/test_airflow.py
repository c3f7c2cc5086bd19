"""The DAGs for Airflow, in a real one: imported, and run to a pushed version."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config import load_config
from pipeline.kubeflow.tasks import plan_tasks
from tests import airflow
from tests.end_to_end.conftest import REPOSITORY

DAGS = REPOSITORY / "configs" / "airflow" / "mastery_dags.py"


def groups() -> dict[str, tuple[str, ...]]:
    """Returns the groups of nodes in the file of the DAGs, which only Airflow can import."""
    values = {
        target.id: item.value
        for item in ast.parse(DAGS.read_text(encoding="utf-8")).body
        if isinstance(item, ast.Assign)
        for target in item.targets
        if isinstance(target, ast.Name)
    }
    found: dict[str, tuple[str, ...]] = ast.literal_eval(values["GROUPS"])
    return found


def test_tasks_are_those_of_kubeflow() -> None:
    config = load_config(
        REPOSITORY / "configs" / "sample.yaml",
        ["training.warm_start=true", "kubeflow.nodes={}"],
    )
    expected = [task.nodes for task in plan_tasks(config)]
    assert [*groups().values()] == expected


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> airflow.Airflow:
    """Airflow with an empty database."""
    programs = airflow.install(request.config.cache.mkdir("airflow"))
    return airflow.set_up(programs, tmp_path_factory.mktemp("home"))


def configuration(folder: Path, name: str, sample: list[str], **changes: Any) -> Path:
    """Writes the configuration that the options of a small run stand for, with further changes."""
    content = yaml.safe_load(Path(sample[1]).read_text(encoding="utf-8"))
    settings = dict(part.split("=", 1) for part in sample[3::2])
    for key, value in {**settings, **changes}.items():
        *sections, last = key.split(".")
        section = content
        for inner in sections:
            section = section.setdefault(inner, {})
        section[last] = yaml.safe_load(value)
    content["schema"] = str(REPOSITORY / "schemas" / "sample.pbtxt")
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.mark.slow
def test_new_data_is_an_event_and_a_run_pushes_what_passes_its_gates(
    server: airflow.Airflow, sample: list[str], tmp_path: Path
) -> None:
    course = configuration(tmp_path, "course", sample)
    gates = "[{metric: f1_macro, min: 0.999}]"
    strict = configuration(tmp_path, "strict", sample, gates=gates)
    variables = {"MASTERY_CONFIGS": f"{course}:{strict}"}

    def run(*arguments: str, exit_code: int = 0) -> str:
        done = server(*arguments, **variables)
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("dags", "reserialize")
    assert "Traceback" not in run("dags", "list-import-errors")

    assert run("dags", "test", "mastery_spans").count("new: {") == 2
    assert run("dags", "test", "mastery_spans").count("nothing new") == 2

    printed = run("dags", "test", "mastery", exit_code=1)
    [version] = (server.root / "sample" / "serving").glob("[0-9]*")
    assert f"pushed {version}" in printed
    assert "strict: gates failed. Report: " in printed
    records = {
        file.parent.name.rpartition("-")[2]: json.loads(file.read_text(encoding="utf-8"))
        for file in server.root.glob("sample/runs/*/run.json")
    }
    assert {name: record["state"] for name, record in records.items()} == {
        "course": "passed",
        "strict": "gates failed",
    }
    assert all(Path(record["report"]).is_file() for record in records.values())
