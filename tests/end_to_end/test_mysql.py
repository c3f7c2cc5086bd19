"""Runs that keep their metadata on a server, by the commands a user types."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.config import Metadata
from pipeline.layout import Layout
from pipeline.store.connection import connect_to_store, connection_config
from tests.end_to_end.conftest import COMMAND, Mastery, environment
from tests.mariadb import PASSWORD, USER, MariaDB

pytestmark = pytest.mark.slow

NODES = ["ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "DataGate"]
OPTIONS = ["--set", "metadata.store=mysql", "--to", "DataGate"]
DATABASE = "two_at_once"


@pytest.fixture(autouse=True)
def _server_in_the_environment(mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in mariadb.environment(DATABASE).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [tmp_path_factory.mktemp(name) for name in ("left", "right")]


def latest(mastery: Mastery, root: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(mastery("runs", "--root", root, "--json").stdout)[-1]
    return record


def ids(store: MetadataStore, run: str, *kinds: int) -> set[int]:
    """Returns the artifacts in the events of some kinds of a run's executions."""
    context = store.get_context_by_type_and_name("pipeline_run", run)
    executions = [item.id for item in store.get_executions_by_context(context.id)]
    return {
        event.artifact_id
        for event in store.get_events_by_execution_ids(executions)
        if event.type in kinds
    }


def test_two_runs_at_once_share_a_database_and_nothing_else(
    mastery: Mastery, sample: list[str], roots: list[Path]
) -> None:
    runs = [
        subprocess.Popen(
            [*COMMAND, "run", *sample, *OPTIONS, "--root", str(root)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), cwd="/",
        )
        for root in roots
    ]  # fmt: skip
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs

    store = connect_to_store(connection_config(Metadata(store="mysql"), Layout(roots[0], "sample")))
    places = {item.id: Path(item.uri) for item in store.get_artifacts()}
    assert len(places) == len({*places.values()}) == 2 * len(NODES)
    for root in roots:
        record = latest(mastery, root)
        states = {node["id"]: node["state"] for node in record["nodes"]}
        assert states == dict.fromkeys(NODES, "done")
        made = ids(store, record["run"], mlmd.Event.OUTPUT)
        assert len(made) == len(NODES)
        assert all(places[item].is_dir() and places[item].is_relative_to(root) for item in made)
        assert ids(store, record["run"], mlmd.Event.INPUT) <= made
        assert not (root / "metadata.sqlite").exists()


def test_the_same_command_again_takes_every_node_from_the_cache(
    mastery: Mastery, sample: list[str], roots: list[Path]
) -> None:
    ran = mastery("run", *sample, *OPTIONS, "--root", roots[0])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {node["state"] for node in latest(mastery, roots[0])["nodes"]} == {"cached"}


def test_the_connection_is_in_no_file_of_a_run(mariadb: MariaDB, roots: list[Path]) -> None:
    files = [file for root in roots for file in root.rglob("*") if file.is_file()]
    assert any(file.name == "plan.json" for file in files)
    for file in files:
        content = file.read_bytes()
        for secret in (PASSWORD, DATABASE, f"{USER}@", str(mariadb.port)):
            assert secret.encode() not in content, file


def test_a_wrong_password_ends_the_run_before_its_first_node(
    mastery: Mastery, sample: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTERY_METADATA_PASSWORD", "a-wrong-one")
    ran = mastery("run", *sample, *OPTIONS, "--root", tmp_path)
    assert ran.returncode == 2
    assert "The run failed." in ran.stdout
    assert f"refused {USER} access to the database {DATABASE}" in " ".join(ran.stdout.split())
    assert "a-wrong-one" not in ran.stdout + ran.stderr
    assert not list(tmp_path.glob("sample/nodes/*"))


def test_a_missing_value_is_reported_before_anything_is_started(
    mastery: Mastery, sample: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTERY_METADATA_HOST")
    ran = mastery("run", *sample, *OPTIONS, "--root", tmp_path)
    assert ran.returncode == 2
    assert "metadata.host: expected a value" in ran.stderr
    assert "MASTERY_METADATA_HOST" in ran.stderr
    assert not list(tmp_path.iterdir())
