"""Puts things in order after a run that was stopped in the middle of a node."""

from __future__ import annotations

import shutil
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.files.safe_paths import path_below
from pipeline.layout import Layout

_UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)


def cancel_unfinished(store: MetadataStore, layout: Layout, run_id: str) -> list[str]:
    """Marks what a dead run left unfinished as cancelled and removes its half-written outputs.

    Args:
        store: the metadata store, which may be shared with other pipelines and runs.
        layout: of the run's pipeline.
        run_id: the run that is dead.

    Returns:
        The ids of the nodes it did so for.
    """
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    if run is None:
        return []
    cancelled = []
    for execution in store.get_executions_by_context(run.id):
        if execution.last_known_state not in _UNFINISHED:
            continue
        execution.last_known_state = metadata_store_pb2.Execution.CANCELED
        store.put_executions([execution])
        [node] = [
            item for item in store.get_contexts_by_execution(execution.id) if _is_node(store, item)
        ]
        node_id = node.name.removeprefix(f"{layout.store_name}.")
        _remove_outputs(path_below(layout.nodes, node_id), execution.id)
        cancelled.append(node_id)
    return cancelled


def _is_node(store: MetadataStore, context: metadata_store_pb2.Context) -> bool:
    return bool(store.get_context_type("node").id == context.type_id)


def _remove_outputs(node: Path, execution_id: int) -> None:
    # TFX writes to <node>/<output>/<execution> and keeps its own in <node>/.system/<kind>/<execution>.
    for folder in (*node.glob(f"*/{execution_id}"), *node.glob(f".system/*/{execution_id}")):
        shutil.rmtree(folder, ignore_errors=True)
