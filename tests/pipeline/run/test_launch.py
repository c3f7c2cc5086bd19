"""Nodes as containers run them: each with an empty root, and with an object store between them."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ml_metadata.proto.metadata_store_pb2 import Execution

from components.config import Config, Metadata, load_config
from components.errors import MasteryError
from pipeline.layout import Layout
from pipeline.run.mirror import Mirror
from pipeline.store.connection import connect_to_store, connection_config
from tests.pipeline.stored_runs import StoredRuns
from tests.s3 import Bucket

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
NODES = ["ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    from components.simulator.simulate import simulate

    simulate(600, 3, tmp_path / "log")
    tables = [
        f"data.{table}={tmp_path / 'log' / table}.parquet" for table in ("events", "outcomes")
    ]
    return load_config(SAMPLE, [*tables, "beam.partitions=1"])


@pytest.mark.slow
def test_nodes_find_what_others_wrote_and_a_cached_one_moves_nothing(
    config: Config, bucket: Bucket, tmp_path: Path
) -> None:
    from pipeline.dag import create_pipeline
    from pipeline.run.launch import compile_plan, launch_node

    layout = Layout(tmp_path / "scratch", config.name)
    store = connection_config(Metadata(), Layout(tmp_path / "database", config.name))
    mirror = Mirror(f"s3://{bucket.name}/mastery", layout.root)
    snapshot = layout.schema_snapshot(config)
    snapshot.parent.mkdir(parents=True)
    shutil.copyfile(config.schema_, snapshot)
    mirror.push([snapshot])

    def launch(
        node_id: str, run: str, *, use_cache: bool = True, store: Any = store
    ) -> tuple[str, set[str]]:
        """Runs a node with an empty root; returns its state and the nodes with files afterwards."""
        shutil.rmtree(layout.root)
        layout.root.mkdir()
        plan = compile_plan(create_pipeline(config, layout), run)
        result = launch_node(plan, node_id, store=store, mirror=mirror, use_cache=use_cache)
        files = [
            file.relative_to(layout.nodes) for file in layout.nodes.rglob("*") if file.is_file()
        ]
        return result.state, {file.parts[0] for file in files}

    assert launch("ExampleGen", "first") == ("done", {"ExampleGen"})
    assert launch("StatisticsGen", "first") == ("done", {"ExampleGen", "StatisticsGen"})
    assert launch("ImportSchemaGen", "first") == ("done", {"ImportSchemaGen"})
    assert launch("ExampleValidator", "first") == (
        "done",
        {"StatisticsGen", "ImportSchemaGen", "ExampleValidator"},
    )
    for node_id in NODES:
        assert launch(node_id, "second") == ("cached", set())

    assert launch("ExampleGen", "third") == ("cached", set())
    complete = [name for name in bucket.names() if name.endswith(".complete")]
    [whole] = [name for name in complete if "/ExampleGen/" in name]
    bucket.client.delete_object(Bucket=bucket.name, Key=whole)
    with pytest.raises(
        MasteryError, match=rf"{mirror.url}/{config.name}/nodes/ExampleGen/examples/1: the store"
    ):
        launch("StatisticsGen", "third", use_cache=False)
    failed = connect_to_store(store).get_executions()[-1]
    assert failed.last_known_state == failed.FAILED
    assert launch("ExampleGen", "fourth") == ("done", {"ExampleGen"})

    before = bucket.names()
    lost = connection_config(Metadata(), Layout(tmp_path / "another", config.name))
    with pytest.raises(MasteryError, match="does not know StatisticsGen/statistics/"):
        launch("StatisticsGen", "fifth", store=lost)
    assert bucket.names() == before


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (None, "Trainer was not started: one of its inputs is missing."),
        (Execution.FAILED, "Trainer failed: one of its inputs could not be resolved."),
    ],
)
def test_a_node_that_fails_without_raising_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: int | None, says: str
) -> None:
    from pipeline.dag import create_pipeline
    from pipeline.run import launch

    class FakeLauncher:
        """Publishes an execution in a state, or none, as TFX's launcher does."""

        def __init__(self, **_: object) -> None:
            pass

        def launch(self) -> SimpleNamespace:
            number = None if state is None else runs.execute("r", "Trainer", state).id
            return SimpleNamespace(execution_id=number)

    sample = load_config(SAMPLE)
    runs = StoredRuns(tmp_path / "root")
    plan = launch.compile_plan(create_pipeline(sample, runs.layout), "r")
    monkeypatch.setattr(launch, "NodeLauncher", FakeLauncher)
    with pytest.raises(launch.NodeFailedError, match=says):
        launch.launch_node(plan, "Trainer", store=connection_config(sample.metadata, runs.layout))
