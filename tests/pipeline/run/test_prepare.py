"""The steps before the first node: the lock, the schema, and cleaning up a dead run."""

from __future__ import annotations

from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.config import Metadata, load_config
from components.errors import ConfigError, MasteryError
from components.files.atomic import NotAFileError
from components.files.safe_paths import UnsafePathError
from pipeline.layout import Layout
from pipeline.run.prepare import cancel_unfinished, lock_root, read_schema, snapshot_schema
from pipeline.store.connection import connect_to_store, connection_config

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
RUN = "20260101-000000-abcdef"


def execution(store: MetadataStore, layout: Layout, node: str, state: int, run: str = RUN) -> int:
    """Puts an execution into the store, with output folders as TFX's launcher makes them."""
    kinds = {
        name: store.put_context_type(mlmd.ContextType(name=name))
        for name in ("pipeline_run", "node")
    }
    kind = store.put_execution_type(mlmd.ExecutionType(name=f"components.{node}"))
    contexts = [
        mlmd.Context(type_id=kinds["pipeline_run"], name=run),
        mlmd.Context(type_id=kinds["node"], name=f"{layout.store_name}.{node}"),
    ]
    number, _, _ = store.put_execution(
        mlmd.Execution(type_id=kind, last_known_state=state),
        [],
        contexts,
        reuse_context_if_already_exist=True,
    )
    for folder in (f"output/{number}", f".system/executor_execution/{number}"):
        (layout.nodes / node / folder).mkdir(parents=True)
        (layout.nodes / node / folder / "half").write_text("written")
    return int(number)


def test_only_the_unfinished_of_that_run_are_cancelled(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "algebra")
    store = connect_to_store(connection_config(Metadata(), layout))
    done = execution(store, layout, "ExampleGen", mlmd.Execution.COMPLETE)
    half = execution(store, layout, "Trainer", mlmd.Execution.RUNNING)
    other = execution(store, layout, "Trainer", mlmd.Execution.RUNNING, run="another")

    assert cancel_unfinished(store, layout, RUN) == ["Trainer"]

    states = {item.id: item.last_known_state for item in store.get_executions()}
    assert states == {
        done: mlmd.Execution.COMPLETE,
        half: mlmd.Execution.CANCELED,
        other: mlmd.Execution.RUNNING,
    }
    left = sorted(str(file.relative_to(layout.nodes)) for file in layout.nodes.rglob("half"))
    assert left == [
        f"ExampleGen/.system/executor_execution/{done}/half",
        f"ExampleGen/output/{done}/half",
        f"Trainer/.system/executor_execution/{other}/half",
        f"Trainer/output/{other}/half",
    ]
    assert cancel_unfinished(store, layout, RUN) == []


def test_a_node_of_a_shared_store_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root", "algebra")
    store = connect_to_store(connection_config(Metadata(), layout))
    number = execution(store, layout, "../../../outside", mlmd.Execution.RUNNING)
    with pytest.raises(UnsafePathError, match="outside"):
        cancel_unfinished(store, layout, RUN)
    assert (tmp_path / "outside" / "output" / str(number) / "half").exists()


def test_a_second_run_is_kept_out(tmp_path: Path) -> None:
    with (
        lock_root(tmp_path),
        pytest.raises(MasteryError, match="another run is using it"),
        lock_root(tmp_path),
    ):
        pass
    with lock_root(tmp_path):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "made")
    with (
        pytest.raises(NotAFileError, match=r"\.lock: expected a regular file, found a link"),
        lock_root(tmp_path),
    ):
        pass
    assert not (tmp_path / "made").exists()


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "root"
    with (
        pytest.raises(MasteryError, match=rf"--root {root}: expected a writable folder \(Not a"),
        lock_root(root),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"schema: .*algebra\.pbtxt could not be read \(No such file"),
        (
            b"\xff",
            r"algebra\.pbtxt: expected a TFDV schema as text, found bytes that are not UTF-8",
        ),
        (b"feature {\n  nam: 1\n}", r"expected a TFDV schema as text; line:column and .*2:3"),
    ],
)
def test_a_schema_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "algebra.pbtxt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        read_schema(file)


def test_the_schema_is_kept_under_a_name_made_of_its_content(tmp_path: Path) -> None:
    schema = tmp_path / "algebra.pbtxt"
    schema.write_text('feature { name: "a" }')
    config = load_config(SAMPLE, [f"schema={schema}"])
    layout = Layout(tmp_path / "root", "algebra")
    snapshot_schema(config, layout)
    snapshot_schema(config, layout)
    schema.write_text('feature { name: "b" }')
    snapshot_schema(config, layout)
    kept = {file.read_text() for file in (layout.root / "algebra" / "schemas").iterdir()}
    assert kept == {'feature { name: "a" }', 'feature { name: "b" }'}
    schema.unlink()
    with pytest.raises(ConfigError, match=r"found none .*`mastery schema infer"):
        snapshot_schema(config, layout)
