"""Whether a node did anything, by what ML Metadata knows of its execution."""

from __future__ import annotations

from ml_metadata import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Event, Execution

RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
_OUTPUTS = (Event.OUTPUT, Event.INTERNAL_OUTPUT)


def is_cached(store: MetadataStore, execution: Execution) -> bool:
    """Whether a node's outputs are those of an earlier execution.

    TFX never takes a resolver from the cache; it counts as taken when it gave the answer that it gave the time before.
    """
    if execution.last_known_state == Execution.CACHED:
        return True
    [kind] = store.get_execution_types_by_id([execution.type_id])
    if kind.name != RESOLVER:
        return False
    node_type = store.get_context_type("node").id
    [node] = [
        item for item in store.get_contexts_by_execution(execution.id) if item.type_id == node_type
    ]
    before = [
        item.id for item in store.get_executions_by_context(node.id) if item.id < execution.id
    ]
    return bool(before) and _outputs(store, max(before)) == _outputs(store, execution.id)


def _outputs(store: MetadataStore, execution_id: int) -> set[int]:
    events = store.get_events_by_execution_ids([execution_id])
    return {event.artifact_id for event in events if event.type in _OUTPUTS}
