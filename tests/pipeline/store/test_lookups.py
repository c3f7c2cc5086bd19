"""A store that does not know what lies below the root is refused before anything there is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.config import Metadata
from pipeline.layout import Layout
from pipeline.store.connection import MetadataError, connect, connection_config
from pipeline.store.lookups import check_lineage
from tests.mariadb import MariaDB

REPOSITORY = Path(__file__).parents[3]
SAMPLE = REPOSITORY / "configs" / "sample.yaml"


def store_of(layout: Layout) -> MetadataStore:
    return connect(connection_config(Metadata(), layout))


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
    """A root in which three executions have left something; a fourth came from the cache and left nothing."""
    layout = Layout(tmp_path / "root", "algebra")
    store = store_of(layout)
    for node in ("ExampleGen", "Trainer", "Trainer"):
        execute(store, layout, node)
    execute(store, layout, "Trainer", folder=False)
    (
        layout.nodes / "Trainer" / ".system" / "stateful_working_dir" / "20260101-000000-abcdef"
    ).mkdir(parents=True)
    return layout


def test_a_store_that_knows_everything_is_fine(layout: Layout) -> None:
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


def test_a_root_that_was_moved_with_its_store_is_fine(layout: Layout, tmp_path: Path) -> None:
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
        check(layout, connect(connection_config(Metadata(store="mysql"), layout)))


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
            sys.executable, "-m", "pipeline.cli.main", "run", "--config", str(SAMPLE), "--root", str(layout.root),
            *(part for option in options for part in ("--set", option)),
        ],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, env={**os.environ},
    )  # fmt: skip
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert (
        f"metadata: expected the store of {layout.nodes}, found one that does not know"
        in ran.stdout
    )
    assert contents(layout.nodes) == before
