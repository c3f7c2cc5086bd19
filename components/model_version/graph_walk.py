"""Walks through a graph and its functions: what runs with a node, and where a value comes from.

Both questions are answered without running anything, and on the safe side: `reachable` may yield
more than really runs, and `origins` returns `UNKNOWN` for a value that cannot be followed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

MAIN = ""  # the scope of nodes that are in no function
UNKNOWN = "?"  # the origin of a value that cannot be followed

# Calls whose inputs are the function's arguments, in their order.
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_FROM_ELEMENTS = {"TensorDataset", "TensorSliceDataset"}
_OVER_ELEMENTS = {"FlatMapDataset", "MapDataset", "ParallelMapDataset", "ParallelMapDatasetV2"}
_SAME_VALUE = {"ExpandDims", "Identity", "Reshape"}
_READ_VARIABLE = {"DisableCopyOnRead", "ReadVariableOp", "VarIsInitializedOp"}

Place = tuple[str, str]  # a scope and the name of a tensor in it


def node_name(tensor: str) -> str:
    """Returns the name of the node that a tensor, or a control input, comes from.

    >>> node_name("lookup/Find:0"), node_name("^init")
    ('lookup/Find', 'init')
    """
    return tensor.removeprefix("^").partition(":")[0]


@dataclass
class GraphWalk:
    """Nodes by scope and name, and which node calls which function.

    A scope is a function's name, or `MAIN` for the graph itself.

    Attributes:
        graph_def: the graph with its functions.
        fed: nodes of the graph whose values come with a request.
        bound: what the last arguments of a function are bound to ("asset", "variable", "constant"
            and so on), by the name of each function that Python can call.
        functions: functions by name.
    """

    graph_def: GraphDef
    fed: set[str]
    bound: dict[str, list[str]]
    functions: dict[str, Any] = field(init=False)
    _nodes: dict[str, dict[str, NodeDef]] = field(init=False)
    _callers: dict[str, list[tuple[str, NodeDef]]] = field(init=False)
    _callees: dict[Place, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.functions = {item.signature.name: item for item in self.graph_def.library.function}
        self._nodes = {MAIN: {node.name: node for node in self.graph_def.node}}
        for name, function in self.functions.items():
            self._nodes[name] = {node.name: node for node in function.node_def}

        self._callers = defaultdict(list)
        self._callees = {}
        for scope, node in self.all_nodes():
            called = self._called_by(node)
            self._callees[scope, node.name] = called
            for name in called:
                self._callers[name].append((scope, node))

    def all_nodes(self) -> Iterator[tuple[str, NodeDef]]:
        """Yields every node with its scope."""
        for node in self.graph_def.node:
            yield MAIN, node
        for name, function in self.functions.items():
            for node in function.node_def:
                yield name, node

    def reachable(
        self, names: Iterable[str], functions: Iterable[str] = ()
    ) -> Iterator[tuple[str, NodeDef]]:
        """Yields what runs when nodes of the graph, or functions, are computed.

        Every node of a function that runs is assumed to run.

        Args:
            names: nodes of the graph.
            functions: names of functions.
        """
        called = list(functions)
        for node in self._reachable_in_graph(names):
            yield MAIN, node
            called += self._callees[MAIN, node.name]

        seen: set[str] = set()
        while called:
            name = called.pop()
            if name in seen or name not in self.functions:
                continue
            seen.add(name)
            for node in self.functions[name].node_def:
                yield name, node
                called += self._callees[name, node.name]

    def origins(self, scope: str, node: NodeDef, place: int) -> set[str]:
        """Returns the nodes of the graph that the value of a node's input comes from.

        Args:
            scope: the node's scope.
            node: the node.
            place: which of its inputs.

        Returns:
            Their names, and `UNKNOWN` where the value cannot be followed.
        """
        found: set[str] = set()
        pending = [(scope, _input(node, place))]
        seen: set[Place] = set()
        while pending:
            current = pending.pop()
            if current in seen:
                continue
            seen.add(current)
            pending += self._step_back(current, found)
        return found

    def _reachable_in_graph(self, names: Iterable[str]) -> Iterator[NodeDef]:
        pending = list(names)
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            node = self._nodes[MAIN].get(name)
            if name in seen or node is None:
                continue
            seen.add(name)
            yield node
            pending += [node_name(item) for item in node.input]

    def _step_back(self, at: Place, found: set[str]) -> list[Place]:
        """Follows a value one step back.

        Args:
            at: where the value is.
            found: gets the node where the value begins, or `UNKNOWN`.

        Returns:
            The places where the value comes from.
        """
        scope, tensor = at
        name = node_name(tensor)
        node = self._nodes[scope].get(name)
        in_graph = scope == MAIN

        if node is None and not in_graph:
            return self._arguments(scope, name, found)
        if node is None or (in_graph and name in self.fed):
            found.add(UNKNOWN)
            return []
        if node.op in _SAME_VALUE:
            return [(scope, _input(node, 0))]
        if node.op == "Pack":
            return [(scope, item) for item in node.input]
        if node.op == "ReadVariableOp" and in_graph:
            return self._assigned_values(node_name(_input(node, 0)), found)
        found.add(name if in_graph else UNKNOWN)
        return []

    def _assigned_values(self, variable: str, found: set[str]) -> list[Place]:
        """Returns what a variable of the graph is set to, such as the name of an asset."""
        handle = self._nodes[MAIN].get(variable)
        is_variable = handle is not None and handle.op == "VarHandleOp"
        if not is_variable or _shared_name(handle) in self._names_used_twice:
            found.add(UNKNOWN)
            return []

        values: list[Place] = []
        for node in self.graph_def.node:
            inputs = {node_name(item) for item in node.input if not item.startswith("^")}
            if variable not in inputs:
                continue
            if node.op == "AssignVariableOp" and node_name(_input(node, 0)) == variable:
                values.append((MAIN, _input(node, 1)))
            elif node.op not in _READ_VARIABLE:
                found.add(UNKNOWN)  # it may set the variable
        return values

    @cached_property
    def _names_used_twice(self) -> set[str]:
        """Names of variables that more than one node refers to."""
        handles = [node for _, node in self.all_nodes() if node.op == "VarHandleOp"]
        counts = Counter(_shared_name(handle) for handle in handles)
        return {name for name, count in counts.items() if count > 1}

    def _arguments(self, function: str, name: str, found: set[str]) -> list[Place]:
        """Returns what the callers of a function pass as the argument `name`."""
        names = [argument.name for argument in self.functions[function].signature.input_arg]
        if name not in names:
            found.add(UNKNOWN)
            return []

        place = names.index(name)
        if function in self.bound and not self._is_bound_to_asset(function, place, len(names)):
            found.add(UNKNOWN)

        values: list[Place] = []
        for scope, node in self._callers[function]:
            if node.op in _CALLS or node.op == function:
                values.append((scope, _input(node, place)))
            elif node.op in _OVER_ELEMENTS:
                values += self._elements(scope, node, place, found)
            else:
                found.add(UNKNOWN)
        return values

    def _is_bound_to_asset(self, function: str, place: int, arguments: int) -> bool:
        """Returns whether Python always calls a function with an asset as this argument."""
        bound = self.bound[function]
        free = arguments - len(bound)
        return free >= 0 and place >= free and bound[place - free] == "asset"

    def _elements(self, scope: str, node: NodeDef, place: int, found: set[str]) -> list[Place]:
        """Returns what a function that runs over the elements of a data set gets as an argument."""
        source = self._nodes[scope].get(node_name(_input(node, 0)))
        if source is None or source.op not in _FROM_ELEMENTS or place >= len(source.input):
            found.add(UNKNOWN)
            return []
        return [(scope, _input(source, place))]

    def _called_by(self, node: NodeDef) -> list[str]:
        names = [node.op] if node.op in self.functions else []
        for value in node.attr.values():
            if value.WhichOneof("value") == "func":
                names.append(value.func.name)
            names += [item.name for item in value.list.func]
        return names


def _input(node: NodeDef, place: int) -> str:
    return str(node.input[place]) if place < len(node.input) else UNKNOWN


def _shared_name(handle: NodeDef) -> str:
    return handle.attr["shared_name"].s.decode(errors="replace") or str(handle.name)
