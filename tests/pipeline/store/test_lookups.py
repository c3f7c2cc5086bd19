"""Look-ups in ML Metadata, and stores that do not know the folders below the root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from ml_metadata.proto.metadata_store_pb2 import Event
from ml_metadata.proto.metadata_store_pb2 import Execution as State

from components.config import Metadata
from components.node.node_id import Node
from pipeline.layout import Layout
from pipeline.store.connection import MetadataError, connect_to_store, connection_config
from pipeline.store.lookups import (
    REPEATS,
    NodeResult,
    RunHistory,
    StoredArtifact,
    check_lineage,
)
from tests.mariadb import MariaDB
from tests.pipeline.stored_runs import RESOLVER, StoredRuns

REPOSITORY = Path(__file__).parents[3]
SAMPLE = REPOSITORY / "configs" / "sample.yaml"


def store_of(layout: Layout) -> MetadataStore:
    return connect_to_store(connection_config(Metadata(), layout))


def execute(store: MetadataStore, layout: Layout, node: str, *, folder: bool = True) -> int:
    """Puts an execution into the store, and its output below the root, as TFX's launcher does."""
    context = mlmd.Context(
        type_id=store.put_context_type(mlmd.ContextType(name="node")),
        name=f"{layout.store_name}.{node}",
    )
    kind = store.put_execution_type(mlmd.ExecutionType(name=node))
    number, _, _ = store.put_execution(
        mlmd.Execution(type_id=kind), [], [context], reuse_context_if_already_exist=True
    )
    if folder:
        (layout.nodes / node / "model" / str(number)).mkdir(parents=True)
        (layout.nodes / node / "model" / str(number) / "weights").write_text(f"of {number}")
    return int(number)


def check(layout: Layout, store: MetadataStore | None = None) -> None:
    check_lineage(store or store_of(layout), layout.store_name, sorted(layout.nodes.glob("*")))


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A root with folders of three executions; a fourth came from the cache and left none."""
    layout = Layout(tmp_path / "root", "algebra")
    store = store_of(layout)
    for node in ("ExampleGen", "Trainer", "Trainer"):
        execute(store, layout, node)
    execute(store, layout, "Trainer", folder=False)
    working_dir = layout.nodes / "Trainer" / ".system" / "stateful_working_dir"
    (working_dir / "20260101-000000-abcdef").mkdir(parents=True)
    return layout


def test_a_store_that_knows_every_folder_is_accepted(layout: Layout) -> None:
    check(layout)
    shutil.rmtree(layout.nodes / "Trainer" / "model" / "2")  # what people remove to save room
    check(layout)
    check(Layout(layout.root, "another"))


def test_a_lost_store_is_refused(layout: Layout) -> None:
    layout.metadata.unlink()
    with pytest.raises(
        MetadataError, match="does not know ExampleGen/model/1 in it: the store was lost"
    ) as caught:
        check(layout)
    assert f"move {layout.nodes} away to start again" in str(caught.value)
    shutil.move(layout.nodes, layout.root / "kept")
    check(layout)


def test_an_older_copy_is_refused(layout: Layout, tmp_path: Path) -> None:
    shutil.copyfile(layout.metadata, tmp_path / "backup")
    execute(store_of(layout), layout, "Trainer")
    check(layout)
    shutil.copyfile(tmp_path / "backup", layout.metadata)
    with pytest.raises(MetadataError, match="does not know Trainer/model/5"):
        check(layout)


def test_a_store_of_others_with_the_same_numbers_is_refused(layout: Layout) -> None:
    layout.metadata.unlink()
    store, other = store_of(layout), Layout(layout.root, "geometry")
    for node in ("Trainer", "ExampleGen", "ExampleGen", "Trainer"):
        execute(store, other, node, folder=False)
    with pytest.raises(MetadataError, match="does not know"):
        check(layout)


def test_a_root_that_was_moved_with_its_store_is_accepted(layout: Layout, tmp_path: Path) -> None:
    moved = Layout(tmp_path / "elsewhere", layout.name)
    shutil.move(layout.root, moved.root)
    check(moved)
    execute(store_of(moved), moved, "Trainer")
    check(moved)


def test_another_kind_of_store_is_refused(
    layout: Layout, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mariadb.environment("switched").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MetadataError, match=r"or metadata\.store was changed"):
        check(layout, connect_to_store(connection_config(Metadata(store="mysql"), layout)))


def test_a_run_on_a_lost_store_changes_nothing_and_says_what_to_do(
    layout: Layout, tmp_path: Path
) -> None:
    layout.metadata.unlink()
    before = contents(layout.nodes)
    for table in ("events", "outcomes"):
        (tmp_path / f"{table}.csv").write_text("learner_id,unit_id\n")
    options = [
        "name=algebra",
        f"data.events={tmp_path}/events.csv",
        f"data.outcomes={tmp_path}/outcomes.csv",
    ]
    ran = subprocess.run(
        [
            sys.executable, "-m", "pipeline.cli.main", "run",
            "--config", str(SAMPLE), "--root", str(layout.root),
            *(part for option in options for part in ("--set", option)),
        ],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, env={**os.environ},
    )  # fmt: skip
    assert ran.returncode == 2, ran.stdout + ran.stderr
    says = f"metadata: expected the store of {layout.nodes}, found one that does not know"
    assert says in ran.stdout
    assert contents(layout.nodes) == before


@pytest.fixture
def runs(tmp_path: Path) -> StoredRuns:
    return StoredRuns(tmp_path / "root")


def history_of(runs: StoredRuns) -> RunHistory:
    return RunHistory(runs.store, runs.layout.store_name)


def test_a_run_that_is_not_known_has_nothing(runs: StoredRuns) -> None:
    runs.execute("first", "ExampleGen")
    history = history_of(runs)
    assert history.run("second") is None
    assert history.latest_executions("second") == {}
    assert history.unfinished_executions("second") == []
    assert history.repeats("second") is None
    assert history.executions_of_node(Node.TRAINER) == []


def test_outputs_come_in_order_with_their_properties(runs: StoredRuns) -> None:
    artifacts = [runs.artifact(f"/x/{number}", number=number) for number in range(3)]
    other = runs.artifact("/y", note="y")
    done = runs.execute("r", "Trainer", outputs={"model": artifacts, "model_run": [other]})
    result = history_of(runs).result_of(done)
    assert (result.node, result.state) == (Node.TRAINER, "done")
    assert result.outputs == {
        "model": [StoredArtifact(f"/x/{number}", {"number": number}) for number in range(3)],
        "model_run": [StoredArtifact("/y", {"note": "y"})],
    }
    assert result.file == Path("/y/history.json")
    assert NodeResult(Node.TRANSFORM, "done", 1.0).file is None


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELED, State.RUNNING])
def test_an_unsuccessful_execution_counts_as_failed_without_outputs(
    runs: StoredRuns, state: int
) -> None:
    execution = runs.execute("r", "Trainer", state, {"model": [runs.artifact("/x")]})
    result = history_of(runs).result_of(execution)
    assert (result.state, result.outputs) == ("failed", {})


def test_the_last_execution_of_a_retried_task_counts(runs: StoredRuns) -> None:
    runs.execute("r", "Trainer", State.FAILED)
    last = runs.execute("r", "Trainer")
    assert history_of(runs).latest_executions("r") == {"Trainer": last}


def test_runs_are_listed_newest_first(runs: StoredRuns) -> None:
    for run in ("1", "2", "3"):
        runs.execute(run, "ExampleGen")
    assert [context.name for context, _ in history_of(runs).runs()] == ["3", "2", "1"]


def test_a_resolver_is_cached_when_it_gives_the_same_answer(runs: StoredRuns) -> None:
    def resolve(run: str, uri: str) -> bool:
        outputs = {"model": [runs.artifact(uri)]}
        execution = runs.execute(
            run, "BaselineResolver", outputs=outputs, kind=RESOLVER, event=Event.INTERNAL_OUTPUT
        )
        return history_of(runs).is_cached(execution)

    assert [resolve("1", "/a"), resolve("2", "/a"), resolve("3", "/b")] == [False, True, False]


def test_an_executed_node_is_cached_only_if_the_store_says_so(runs: StoredRuns) -> None:
    history = history_of(runs)
    outputs = {"model": [runs.artifact("/x")]}
    assert not history.is_cached(runs.execute("1", "Trainer", outputs=outputs))
    assert not history.is_cached(runs.execute("2", "Trainer", outputs=outputs))
    assert history.is_cached(runs.execute("3", "Trainer", State.CACHED, outputs))


def test_a_run_without_new_data_names_the_run_it_would_have_repeated(runs: StoredRuns) -> None:
    runs.execute("2", "ExampleGen")
    assert history_of(runs).repeats("2") is None
    runs.set_property("2", REPEATS, "1")
    assert history_of(runs).repeats("2") == "1"
