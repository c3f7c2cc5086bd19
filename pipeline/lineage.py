"""Whether the metadata store is the one that knows what lies below the root.

TFX names an artifact's folder after its execution's number, and the store counts executions. A store that was lost,
brought back from an older copy or exchanged for another one counts from the beginning: its runs would write into
the folders of earlier ones, and remove them when they fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ml_metadata import MetadataStore

from pipeline.store import MetadataError


def check_lineage(store: MetadataStore, pipeline: str, nodes: Iterable[Path]) -> None:
    """Makes sure that the store knows every execution that has left a folder.

    Args:
        store: the metadata store.
        pipeline: the pipeline's name in it.
        nodes: folders of nodes, each with folders of outputs, and in those a folder for each execution.

    Raises:
        MetadataError: there is a folder of an execution that the store does not know; nothing was touched.
    """
    for node in nodes:
        # First the folders, then the store: whoever makes a folder now has told the store of it before.
        left = {int(folder.name): folder for folder in node.glob("*/*") if _is_number(folder.name)}
        context = store.get_context_by_type_and_name("node", f"{pipeline}.{node.name}")
        known = (
            {item.id for item in store.get_executions_by_context(context.id)} if context else set()
        )
        strangers = sorted(number for number in left if number not in known)
        if strangers and not _was_moved(store, node.name, strangers):
            raise MetadataError(_explain(node.parent, left[strangers[-1]]))


def _was_moved(store: MetadataStore, node: str, numbers: list[int]) -> bool:
    """Whether executions are known of the same node under another root: this one was moved, with its store."""
    node_type = store.get_context_type("node").id if store.get_context_types() else None
    for number in numbers:
        contexts = (
            store.get_contexts_by_execution(number) if store.get_executions_by_id([number]) else []
        )
        if not any(
            item.type_id == node_type and item.name.endswith(f".{node}") for item in contexts
        ):
            return False
    return True


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _explain(nodes: Path, folder: Path) -> str:
    return (
        f"metadata: expected the store of {nodes}, found one that does not know {folder.relative_to(nodes)} in it: the "
        f"store was lost, is an older copy, or metadata.store was changed. Bring the right one back, give another "
        f"--root, or move {nodes} away to begin anew, without a model to compare with. Nothing was changed."
    )
