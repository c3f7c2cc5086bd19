"""Finds what a SavedModel's graph could do besides computing: touch files or run code.

A SavedModel is a program that runs with the rights of the process that loads it. So its graph is
read before it is loaded:

- every operation, in the graph and in its functions, is on the list of those that only compute;
- vocabularies are read from the model's own assets, whose names stay inside the model;
- operations for checkpoints, which every SavedModel holds, run only while its variables load.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef, MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from components.command.escape import shorten
from components.errors import VersionError
from components.model_version.folders import SAVED_MODEL
from components.model_version.graph_walk import MAIN, GraphWalk, node_name
from components.model_version.operations import CHECKPOINTS, COMPUTING, READS_ASSET

_SHOWN = 10  # problems in one message
_LONGEST_NAME = 100  # characters of a name in a message
_LONGEST_PATH = 200  # characters of a path in a message
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_ASSET_COLLECTION = "saved_model_assets"
_INIT_SIGNATURE = "__saved_model_init_op"  # which no server answers


def require_safe(model: Path, *, also_allowed: Collection[str] = ()) -> None:
    """Checks all graphs of a SavedModel.

    Args:
        model: its folder.
        also_allowed: operations that the user has allowed.

    Raises:
        VersionError: there is no SavedModel, or it could do more than compute.
    """
    try:
        saved = SavedModel.FromString((model / SAVED_MODEL).read_bytes())
    except (OSError, DecodeError) as error:
        raise VersionError(
            f"{model}: expected a SavedModel, found no {SAVED_MODEL} that can be read."
        ) from error

    for meta_graph in saved.meta_graphs:
        require_safe_graph(meta_graph, str(model), also_allowed=also_allowed)


def require_safe_graph(
    meta_graph: MetaGraphDef, where: str, *, also_allowed: Collection[str] = ()
) -> None:
    """Checks one graph.

    Args:
        meta_graph: the graph with its functions, signatures and assets.
        where: what the message calls the model.
        also_allowed: operations that the user has allowed.

    Raises:
        VersionError: it could do more than compute.
    """
    problems = graph_problems(meta_graph, also_allowed=also_allowed)
    if not problems:
        return

    shown = problems[:_SHOWN]
    if len(problems) > _SHOWN:
        shown.append(f"and {len(problems) - _SHOWN} more")
    raise VersionError(
        f"{where}: expected a graph that only computes, found: {'; '.join(shown)}. Nothing was "
        "loaded."
    )


def graph_problems(meta_graph: MetaGraphDef, *, also_allowed: Collection[str] = ()) -> list[str]:
    """Returns what a graph could do besides computing, each as a part of a sentence.

    Args:
        meta_graph: the graph with its functions, signatures and assets.
        also_allowed: operations that the user has allowed.
    """
    allowed = set(also_allowed)
    inputs = [info for item in meta_graph.signature_def.values() for info in item.inputs.values()]
    fed = {node_name(name) for info in inputs for name in _tensors(info)}
    graph = GraphWalk(meta_graph.graph_def, fed, _bound_kinds(meta_graph))

    return [
        *_disguised_operations(graph),
        *_unknown_operations(graph, allowed),
        *_assets_elsewhere(meta_graph),
        *_served_checkpoints(graph, meta_graph, allowed),
        *_loaded_checkpoints(graph, meta_graph, allowed),
        *_other_files(graph, meta_graph, allowed),
    ]


def _disguised_operations(graph: GraphWalk) -> Iterator[str]:
    for name in sorted(graph.functions):
        if op_def_registry.get(name) is not None:
            yield f"a function with the name of the operation {name}"


def _unknown_operations(graph: GraphWalk, also_allowed: set[str]) -> Iterator[str]:
    known = COMPUTING | CHECKPOINTS | READS_ASSET.keys() | also_allowed | graph.functions.keys()
    unknown = {node.op: scope for scope, node in graph.all_nodes() if node.op not in known}
    for operation, scope in sorted(unknown.items()):
        name = shorten(operation, _LONGEST_NAME)
        yield f"operation {name} in {_describe(scope)}, which may touch files or run code"


def _assets_elsewhere(meta_graph: MetaGraphDef) -> Iterator[str]:
    for asset in _assets(meta_graph):
        name = asset.filename
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or not name:
            yield f"asset {shorten(name, _LONGEST_PATH)!r}, which is not inside the model"


def _served_checkpoints(
    graph: GraphWalk, meta_graph: MetaGraphDef, also_allowed: set[str]
) -> Iterator[str]:
    """Yields operations on checkpoints that a request, or loading the model, would run."""
    served = [*_computed_by_requests(meta_graph), *_run_at_the_start(meta_graph)]
    from_python = list(meta_graph.object_graph_def.concrete_functions)
    for scope, node in graph.reachable(served, from_python):
        if node.op in CHECKPOINTS - also_allowed:
            yield (
                f"operation {node.op} in {_describe(scope)}, which a request or loading the model "
                "would run"
            )


def _loaded_checkpoints(
    graph: GraphWalk, meta_graph: MetaGraphDef, also_allowed: set[str]
) -> Iterator[str]:
    """Yields what loading the variables would do besides reading the model's own checkpoint."""
    saver = meta_graph.saver_def
    if not saver.restore_op_name:
        return
    file_name = node_name(saver.filename_tensor_name)

    for scope, node in graph.reachable([node_name(saver.restore_op_name)]):
        operation = f"operation {node.op} in {_describe(scope)}"
        if node.op in CHECKPOINTS - {"RestoreV2"} - also_allowed:
            yield f"{operation}, which loading the variables would run"
        if node.op == "RestoreV2" and graph.origins(scope, node, 0) != {file_name}:
            yield f"{operation}, which reads another file than the model's variables"


def _other_files(
    graph: GraphWalk, meta_graph: MetaGraphDef, also_allowed: set[str]
) -> Iterator[str]:
    """Yields operations that read a file other than the model's assets."""
    assets = {node_name(asset.tensor_info.name) for asset in _assets(meta_graph)}
    # While the model loads, an asset's node holds the path of the asset; when a request runs the
    # node, it holds the value in the graph, which may be any path.
    for scope, node in graph.reachable(_computed_by_requests(meta_graph)):
        if scope == MAIN and node.op != "Placeholder":
            assets.discard(node.name)

    reading = READS_ASSET.keys() - also_allowed
    for scope, node in graph.all_nodes():
        if node.op not in reading:
            continue
        origins = graph.origins(scope, node, READS_ASSET[node.op])
        if not origins or not origins <= assets:
            yield (
                f"operation {node.op} in {_describe(scope)}, which reads a file that is not an "
                "asset of the model"
            )


def _assets(meta_graph: MetaGraphDef) -> list[AssetFileDef]:
    """Returns the model's assets.

    TensorFlow 1 keeps them in a collection, which is read if there are no others.
    """
    if meta_graph.asset_file_def or _ASSET_COLLECTION not in meta_graph.collection_def:
        return list(meta_graph.asset_file_def)

    found = []
    for packed in meta_graph.collection_def[_ASSET_COLLECTION].any_list.value:
        asset = AssetFileDef()
        with suppress(DecodeError):  # stays without a name, and is refused for that
            packed.Unpack(asset)
        found.append(asset)
    return found


def _computed_by_requests(meta_graph: MetaGraphDef) -> list[str]:
    """Returns the nodes that requests compute."""
    names = []
    for signature, item in meta_graph.signature_def.items():
        if signature != _INIT_SIGNATURE:
            for info in (*item.outputs.values(), *item.inputs.values()):
                names += _tensors(info)
    return [node_name(name) for name in names]


def _run_at_the_start(meta_graph: MetaGraphDef) -> list[str]:
    """Returns the nodes that loading the model computes, besides its variables."""
    names: list[str] = []
    for collection in _INIT_COLLECTIONS:
        if collection in meta_graph.collection_def:
            names += meta_graph.collection_def[collection].node_list.value
    if _INIT_SIGNATURE in meta_graph.signature_def:
        names += [info.name for info in meta_graph.signature_def[_INIT_SIGNATURE].outputs.values()]
    return [node_name(name) for name in names]


def _tensors(info: Any) -> list[str]:
    sparse = info.coo_sparse
    parts = [part.name for part in info.composite_tensor.components]
    return [
        info.name,
        sparse.values_tensor_name,
        sparse.indices_tensor_name,
        sparse.dense_shape_tensor_name,
        *parts,
    ]


def _bound_kinds(meta_graph: MetaGraphDef) -> dict[str, list[str]]:
    """Returns what `tf.saved_model.load` binds the last arguments of each function to.

    The kinds are those of the object graph: "asset", "constant", "variable" and so on; "?" for an
    index that leads nowhere.
    """
    objects = meta_graph.object_graph_def
    kinds = [str(node.WhichOneof("kind")) for node in objects.nodes]

    bound: dict[str, list[str]] = {}
    for name, function in objects.concrete_functions.items():
        places = function.bound_inputs
        bound[name] = [kinds[place] if 0 <= place < len(kinds) else "?" for place in places]
    return bound


def _describe(scope: str) -> str:
    return "the graph" if scope == MAIN else f"function {shorten(scope, _LONGEST_NAME)}"
