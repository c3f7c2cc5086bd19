"""Finds what a SavedModel's graph could do beside computing: operations that touch files, or run code.

A SavedModel is a program that runs with the rights of whoever loads it. So its graph is read before it is loaded:

- every operation, in the graph and in its functions, is one of those that compute (`allowed_operations`);
- vocabularies are read from the model's own assets, whose names stay inside of the model;
- the operations for checkpoints, which every SavedModel holds, are run by nothing but the loading of its variables.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef, MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from components.model_version.allowed_operations import CHECKPOINTS, COMPUTING, READS_ASSET
from components.model_version.folders import SAVED_MODEL
from components.model_version.verify import VersionError

_SHOWN = 10  # problems in one message
_GRAPH = ""  # the scope of nodes that are in no function
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_ASSET_COLLECTION = "saved_model_assets"
_INIT_SIGNATURE = "__saved_model_init_op"  # which no server answers
_CALLS = {
    "PartitionedCall",
    "StatefulPartitionedCall",
}  # inputs are the function's arguments, in their order
_FROM_ELEMENTS = {"TensorDataset", "TensorSliceDataset"}
_OVER_ELEMENTS = {"FlatMapDataset", "MapDataset", "ParallelMapDataset", "ParallelMapDatasetV2"}
_SAME_VALUE = {"ExpandDims", "Identity", "Reshape"}
_READ_VARIABLE = {"DisableCopyOnRead", "ReadVariableOp", "VarIsInitializedOp"}


def require_safe(model: Path, *, also_allowed: Collection[str] = ()) -> None:
    """Checks all graphs of a SavedModel.

    Args:
        model: its folder.
        also_allowed: operations that somebody vouches for.

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
        where: what the message is to call the model.
        also_allowed: operations that somebody vouches for.

    Raises:
        VersionError: it could do more than compute.
    """
    problems = graph_problems(meta_graph, also_allowed=also_allowed)
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise VersionError(
            f"{where}: expected a graph that only computes, found: {'; '.join([*problems[:_SHOWN], *more])}. Nothing "
            "was loaded."
        )


def graph_problems(meta_graph: MetaGraphDef, *, also_allowed: Collection[str] = ()) -> list[str]:
    """Returns what a graph could do beside computing, each as a part of a sentence; none for a safe one."""
    allowed = COMPUTING | CHECKPOINTS | READS_ASSET.keys() | set(also_allowed)
    inputs = [info for item in meta_graph.signature_def.values() for info in item.inputs.values()]
    fed = {_node_name(name) for info in inputs for name in _tensors(info)}
    graph = _Graph(meta_graph.graph_def, fed, _bound_kinds(meta_graph))

    hidden = sorted(name for name in graph.functions if op_def_registry.get(name) is not None)
    problems = [f"a function called like the operation {name}" for name in hidden]
    known = allowed | graph.functions.keys()
    unknown = {node.op: scope for scope, node in graph.all_nodes() if node.op not in known}
    for operation, scope in sorted(unknown.items()):
        problems.append(
            f"operation {operation[:100]} in {_shown(scope)}, which may touch files or run code"
        )

    problems += _asset_names(meta_graph)
    problems += _served_checkpoints(graph, meta_graph, set(also_allowed))
    problems += _other_files(graph, meta_graph, set(also_allowed))
    return problems


def _asset_names(meta_graph: MetaGraphDef) -> Iterator[str]:
    for asset in _assets(meta_graph):
        path = PurePosixPath(asset.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in asset.filename or not asset.filename:
            yield f"asset {asset.filename[:200]!r}, which is not inside of the model"


def _served_checkpoints(
    graph: _Graph, meta_graph: MetaGraphDef, also_allowed: set[str]
) -> Iterator[str]:
    """Yields operations on checkpoints that a request, or the start of the model, would run."""
    served = [*_asked_for(meta_graph), *_run_at_the_start(meta_graph)]
    for scope, node in graph.reachable(
        served, list(meta_graph.object_graph_def.concrete_functions)
    ):
        if node.op in CHECKPOINTS - also_allowed:
            yield f"operation {node.op} in {_shown(scope)}, which a request or the start of the model would run"

    restore = (
        [_node_name(meta_graph.saver_def.restore_op_name)]
        if meta_graph.saver_def.restore_op_name
        else []
    )
    file_name = _node_name(meta_graph.saver_def.filename_tensor_name)
    for scope, node in graph.reachable(restore, []):
        if node.op in CHECKPOINTS - {"RestoreV2"} - also_allowed:
            yield f"operation {node.op} in {_shown(scope)}, which the loading of variables would run"
        if node.op == "RestoreV2" and graph.origins(scope, node, 0) != {file_name}:
            yield f"operation RestoreV2 in {_shown(scope)}, which reads another file than the model's variables"


def _other_files(graph: _Graph, meta_graph: MetaGraphDef, also_allowed: set[str]) -> Iterator[str]:
    """Yields operations that read a file which is no asset of the model."""
    assets = {_node_name(asset.tensor_info.name) for asset in _assets(meta_graph)}
    # An asset's node has the asset's path while the model is loaded, and its own value when a request runs it.
    requests = (
        node for scope, node in graph.reachable(_asked_for(meta_graph), []) if scope == _GRAPH
    )
    assets -= {node.name for node in requests if node.op != "Placeholder"}
    reading = READS_ASSET.keys() - also_allowed
    for scope, node in graph.all_nodes():
        if node.op not in reading:
            continue
        origins = graph.origins(scope, node, READS_ASSET[node.op])
        if not origins or not origins <= assets:
            yield f"operation {node.op} in {_shown(scope)}, which reads a file that is no asset of the model"


def _assets(meta_graph: MetaGraphDef) -> list[AssetFileDef]:
    """Returns the model's assets; TensorFlow 1 has them in a collection, which counts where there are no others."""
    if meta_graph.asset_file_def or _ASSET_COLLECTION not in meta_graph.collection_def:
        return list(meta_graph.asset_file_def)
    found = []
    for packed in meta_graph.collection_def[_ASSET_COLLECTION].any_list.value:
        asset = AssetFileDef()
        with suppress(DecodeError):  # then it has no name, and is refused
            packed.Unpack(asset)
        found.append(asset)
    return found


def _asked_for(meta_graph: MetaGraphDef) -> list[str]:
    """Returns the nodes that requests compute."""
    signatures = [
        item for name, item in meta_graph.signature_def.items() if name != _INIT_SIGNATURE
    ]
    infos = [
        info for item in signatures for info in (*item.outputs.values(), *item.inputs.values())
    ]
    return [_node_name(name) for info in infos for name in _tensors(info)]


def _run_at_the_start(meta_graph: MetaGraphDef) -> list[str]:
    """Returns the nodes that the loading of the model computes, beside its variables."""
    names = []
    for collection in _INIT_COLLECTIONS:
        if collection in meta_graph.collection_def:
            names += meta_graph.collection_def[collection].node_list.value
    if _INIT_SIGNATURE in meta_graph.signature_def:
        names += [info.name for info in meta_graph.signature_def[_INIT_SIGNATURE].outputs.values()]
    return [_node_name(name) for name in names]


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
    """Returns what `tf.saved_model.load` binds the last arguments of each function to: "asset", "constant", ..."""
    objects = meta_graph.object_graph_def
    kinds = [str(node.WhichOneof("kind")) for node in objects.nodes]
    return {
        name: [kinds[place] if 0 <= place < len(kinds) else "?" for place in function.bound_inputs]
        for name, function in objects.concrete_functions.items()
    }


@dataclass
class _Graph:
    """Nodes by scope ("" for the graph itself, else the function's name) and name, and who calls which function."""

    graph_def: GraphDef
    fed: set[str]  # nodes of the graph whose values come with a request
    bound: dict[str, list[str]]  # by function, see `_bound_kinds`
    functions: dict[str, Any] = field(init=False)
    nodes: dict[str, dict[str, NodeDef]] = field(init=False)
    calls: dict[str, list[tuple[str, NodeDef]]] = field(init=False)  # of a function
    callees: dict[tuple[str, str], list[str]] = field(init=False)  # of a node

    def __post_init__(self) -> None:
        self.functions = {item.signature.name: item for item in self.graph_def.library.function}
        self.nodes = {_GRAPH: {node.name: node for node in self.graph_def.node}}
        self.nodes |= {
            name: {node.name: node for node in item.node_def}
            for name, item in self.functions.items()
        }
        self.calls, self.callees = defaultdict(list), defaultdict(list)
        for scope, node in self.all_nodes():
            called = self._called(node)
            self.callees[scope, node.name] = called
            for name in called:
                self.calls[name].append((scope, node))

    def all_nodes(self) -> Iterator[tuple[str, NodeDef]]:
        for node in self.graph_def.node:
            yield _GRAPH, node
        for name, function in self.functions.items():
            for node in function.node_def:
                yield name, node

    def reachable(
        self, names: Iterable[str], functions: Iterable[str]
    ) -> Iterator[tuple[str, NodeDef]]:
        """Yields what runs when nodes of the graph, or functions, are computed; a function as a whole."""
        pending, seen = list(names), set()
        called: set[str] = set()
        waiting = list(functions)
        while pending or waiting:
            while pending:
                name = pending.pop()
                node = self.nodes[_GRAPH].get(name)
                if name in seen or node is None:
                    continue
                seen.add(name)
                yield _GRAPH, node
                pending += [_node_name(item) for item in node.input]
                waiting += self.callees[_GRAPH, name]
            while waiting:
                function = waiting.pop()
                if function in called or function not in self.functions:
                    continue
                called.add(function)
                for node in self.functions[function].node_def:
                    yield function, node
                    waiting += self.callees[function, node.name]

    def origins(self, scope: str, node: NodeDef, place: int) -> set[str]:
        """Returns the nodes of the graph that an input's value comes from; "?" for what cannot be followed."""
        found: set[str] = set()
        pending = [(scope, _input(node, place))]
        seen: set[tuple[str, str]] = set()
        while pending:
            at = pending.pop()
            if at not in seen:
                seen.add(at)
                self._step(*at, found, pending)
        return found

    def _step(
        self, scope: str, tensor: str, found: set[str], pending: list[tuple[str, str]]
    ) -> None:
        """Follows a value one step back."""
        name = _node_name(tensor)
        node = self.nodes[scope].get(name)
        if scope != _GRAPH and node is None:
            pending += self._arguments(scope, name, found)
        elif node is None or (scope == _GRAPH and name in self.fed):
            found.add("?")
        elif node.op in _SAME_VALUE:
            pending.append((scope, _input(node, 0)))
        elif node.op == "Pack":
            pending += [(scope, item) for item in node.input]
        elif node.op == "ReadVariableOp" and scope == _GRAPH:
            pending += self._assigned(_node_name(_input(node, 0)), found)
        else:
            found.add(name if scope == _GRAPH else "?")

    def _assigned(self, variable: str, found: set[str]) -> list[tuple[str, str]]:
        """Returns what a variable of the graph is set to; an asset's name goes through one."""
        handle = self.nodes[_GRAPH].get(variable)
        if (
            handle is None
            or handle.op != "VarHandleOp"
            or self._shared_name(handle) in self._shared_names
        ):
            found.add("?")
            return []
        values = []
        for node in self.graph_def.node:
            if variable not in {
                _node_name(item) for item in node.input if not item.startswith("^")
            }:
                continue
            if node.op == "AssignVariableOp" and _node_name(_input(node, 0)) == variable:
                values.append((_GRAPH, _input(node, 1)))
            elif node.op not in _READ_VARIABLE:
                found.add("?")  # somebody else may set it
        return values

    @cached_property
    def _shared_names(self) -> set[str]:
        """Names of variables that more than one node stands for."""
        counts = Counter(
            self._shared_name(node) for _, node in self.all_nodes() if node.op == "VarHandleOp"
        )
        return {name for name, count in counts.items() if count > 1}

    @staticmethod
    def _shared_name(handle: NodeDef) -> str:
        return handle.attr["shared_name"].s.decode(errors="replace") or str(handle.name)

    def _arguments(self, function: str, name: str, found: set[str]) -> list[tuple[str, str]]:
        """Returns what the callers of a function hand over as one of its arguments."""
        names = [argument.name for argument in self.functions[function].signature.input_arg]
        if name not in names:
            found.add("?")
            return []
        place, values = names.index(name), []
        if function in self.bound:  # called from Python, too
            kinds = [*["caller"] * (len(names) - len(self.bound[function])), *self.bound[function]]
            if len(kinds) != len(names) or kinds[place] != "asset":
                found.add("?")
        for scope, node in self.calls[function]:
            if node.op in _CALLS or node.op == function:
                values.append((scope, _input(node, place)))
            elif node.op in _OVER_ELEMENTS:
                values += self._elements(scope, node, place, found)
            else:
                found.add("?")
        return values

    def _elements(
        self, scope: str, node: NodeDef, place: int, found: set[str]
    ) -> list[tuple[str, str]]:
        """Returns what a function over a data set's elements gets as an argument."""
        source = self.nodes[scope].get(_node_name(_input(node, 0)))
        if source is None or source.op not in _FROM_ELEMENTS or place >= len(source.input):
            found.add("?")
            return []
        return [(scope, _input(source, place))]

    def _called(self, node: NodeDef) -> list[str]:
        names = [node.op] if node.op in self.functions else []
        for value in node.attr.values():
            if value.WhichOneof("value") == "func":
                names.append(value.func.name)
            names += [item.name for item in value.list.func]
        return names


def _input(node: NodeDef, place: int) -> str:
    return str(node.input[place]) if place < len(node.input) else "?"


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _shown(scope: str) -> str:
    return f"function {scope[:100]}" if scope else "the graph"
