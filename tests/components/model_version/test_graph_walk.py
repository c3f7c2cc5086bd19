"""What runs when a node of a graph does, and where its values come from."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow.core.framework.graph_pb2 import GraphDef

from components.model_version.graph_walk import MAIN, GraphWalk, node_name

CALL = 'attr { key: "f" value { func { name: "read" } } }'
READ = """
library { function {
  signature { name: "read" input_arg { name: "path" } input_arg { name: "unused" } }
  node_def { name: "read" op: "ReadFile" input: "path" }
} }
"""


def walk(
    text: str, *, fed: set[str] | None = None, bound: dict[str, list[str]] | None = None
) -> GraphWalk:
    return GraphWalk(text_format.Parse(text, GraphDef()), fed or set(), bound or {})


def origins(graph: GraphWalk, name: str = "read") -> set[str]:
    """Returns the origins of the first input of a node, wherever that is."""
    ((scope, node),) = [item for item in graph.all_nodes() if item[1].name == name]
    return graph.origins(scope, node, 0)


def test_names_of_nodes() -> None:
    assert [node_name(tensor) for tensor in ("a", "a:1", "^a", "f/b:out:0")] == [
        "a",
        "a",
        "a",
        "f/b",
    ]


def test_a_value_is_followed_through_what_does_not_change_it() -> None:
    graph = walk("""
        node { name: "a" op: "Const" }
        node { name: "b" op: "Const" }
        node { name: "packed" op: "Pack" input: "a" input: "b" }
        node { name: "same" op: "Identity" input: "packed:0" }
        node { name: "read" op: "ReadFile" input: "same" }
    """)
    assert origins(graph) == {"a", "b"}


def test_a_value_that_a_request_feeds_is_unknown() -> None:
    text = """
        node { name: "a" op: "Placeholder" }
        node { name: "read" op: "ReadFile" input: "a" }
    """
    assert origins(walk(text)) == {"a"}
    assert origins(walk(text, fed={"a"})) == {"?"}


@pytest.mark.parametrize("text", ['input: "absent"', ""])
def test_an_input_that_is_not_there_is_unknown(text: str) -> None:
    assert origins(walk(f'node {{ name: "read" op: "ReadFile" {text} }}')) == {"?"}


def test_a_cycle_of_values_ends() -> None:
    graph = walk("""
        node { name: "a" op: "Identity" input: "b" }
        node { name: "b" op: "Identity" input: "a" }
        node { name: "read" op: "ReadFile" input: "a" }
    """)
    assert origins(graph) == set()


VARIABLE = """
node { name: "path" op: "Const" }
node { name: "variable" op: "VarHandleOp" }
node { name: "assign" op: "AssignVariableOp" input: "variable" input: "path" }
node { name: "value" op: "ReadVariableOp" input: "variable" input: "^assign" }
node { name: "read" op: "ReadFile" input: "value" }
"""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", {"path"}),
        ('node { name: "other" op: "ResourceScatterUpdate" input: "variable" }', {"path", "?"}),
        ('node { name: "variable2" op: "VarHandleOp" }', {"path"}),
    ],
)
def test_a_variable_has_the_values_that_are_assigned(more: str, expected: set[str]) -> None:
    assert origins(walk(VARIABLE + more)) == expected


def test_a_variable_of_two_nodes_is_unknown() -> None:
    shared = 'op: "VarHandleOp" attr { key: "shared_name" value { s: "v" } }'
    text = VARIABLE.replace('op: "VarHandleOp"', shared)
    assert origins(walk(text)) == {"path"}
    assert origins(walk(f'{text} node {{ name: "twin" {shared} }}')) == {"?"}


def test_a_node_that_is_not_a_variable_is_unknown() -> None:
    assert origins(walk(VARIABLE.replace("VarHandleOp", "Placeholder"))) == {"?"}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (f'op: "PartitionedCall" input: "a" input: "b" {CALL}', {"a"}),
        (f'op: "StatefulPartitionedCall" {CALL}', {"?"}),
        ('op: "read" input: "a"', {"a"}),
        (f'op: "If" input: "a" {CALL}', {"?"}),
        (f'op: "MapDataset" input: "elements" {CALL}', {"a"}),
        (f'op: "MapDataset" input: "a" {CALL}', {"?"}),
        (f'op: "MapDataset" input: "absent" {CALL}', {"?"}),
        ('op: "Const"', set()),  # nothing calls the function
    ],
)
def test_an_argument_has_the_values_that_callers_pass(call: str, expected: set[str]) -> None:
    graph = walk(f"""
        node {{ name: "a" op: "Const" }}
        node {{ name: "b" op: "Const" }}
        node {{ name: "elements" op: "TensorDataset" input: "a" }}
        node {{ name: "call" {call} }}
        {READ}
    """)
    assert origins(graph) == expected


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (["asset", "constant"], set()),
        (["constant", "asset"], {"?"}),
        (["constant"], {"?"}),  # the first argument is the caller's
        (["asset"] * 3, {"?"}),  # more than the function has arguments
    ],
)
def test_an_argument_from_python_is_known_only_where_it_is_an_asset(
    bound: list[str], expected: set[str]
) -> None:
    assert origins(walk(READ, bound={"read": bound})) == expected


def test_a_value_made_inside_a_function_is_unknown() -> None:
    text = READ.replace('input: "path" }', 'input: "made" } node_def { name: "made" op: "Const" }')
    assert origins(walk(text)) == {"?"}
    assert origins(walk(READ.replace('input: "path" }', 'input: "nowhere" }'))) == {"?"}


def test_reachable_yields_inputs_and_called_functions() -> None:
    graph = walk(f"""
        node {{ name: "a" op: "Const" input: "^first" }}
        node {{ name: "first" op: "NoOp" }}
        node {{ name: "call" op: "PartitionedCall" input: "a:0" {CALL} }}
        node {{ name: "list" op: "Case" attr {{ key: "branches" value {{
          list {{ func {{ name: "read" }} func {{ name: "absent" }} }} }} }} }}
        node {{ name: "other" op: "Const" }}
        {READ}
    """)

    def names(*nodes: str) -> list[tuple[str, str]]:
        return sorted((scope, node.name) for scope, node in graph.reachable(nodes))

    needed = [(MAIN, "a"), (MAIN, "call"), (MAIN, "first"), ("read", "read")]
    assert names("call") == needed
    assert names("call", "absent", "call") == needed
    assert names("list") == [(MAIN, "list"), ("read", "read")]
    assert [node.name for _, node in graph.reachable([], ["read", "absent", "read"])] == ["read"]
