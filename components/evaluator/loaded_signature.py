"""Loads one signature of a SavedModel into a session, without the rest of its graph.

`tf.saved_model.load` makes a Python function of every function in a model. Only one signature is
asked here, and its part of the graph is imported in a tenth of the time; the operations are the
same, and so are the answers, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from components.contracts.names import SERVE
from components.model_version.folders import SAVED_MODEL
from components.model_version.graph_walk import MAIN, GraphWalk, node_name

Array = np.ndarray[Any, Any]
Predict = Callable[[dict[str, Array]], dict[str, Array]]  # outputs by name, of inputs by name

_INIT = "__saved_model_init_op"  # the signature, and its output, that fills tables


@contextmanager
def load_signature(model: Path, name: str) -> Iterator[Predict]:
    """Yields a function that answers as a signature of a SavedModel.

    Args:
        model: the SavedModel, whose graph is known to be safe.
        name: the signature.

    Raises:
        KeyError: the model has no such signature.
        tf.errors.OpError: the model cannot be loaded; or, of the function, run.
    """
    graph = _served_graph(model)
    if graph is None or _INIT not in graph.signature_def:  # not of TensorFlow 2
        yield _load_whole(model, name)
        return
    if name not in graph.signature_def:
        raise KeyError(name)

    part = tf.Graph()
    with part.as_default():  # only here: between answers, examples are read outside of this graph
        tf.import_graph_def(_part_of(graph, name), name="")
    session = tf.compat.v1.Session(graph=part)
    try:
        _initialize(session, graph, model)
        yield partial(_run, session, graph.signature_def[name])
    finally:
        session.close()


def _served_graph(model: Path) -> MetaGraphDef | None:
    saved = SavedModel.FromString((model / SAVED_MODEL).read_bytes())
    return next((graph for graph in saved.meta_graphs if SERVE in graph.meta_info_def.tags), None)


def _part_of(graph: MetaGraphDef, name: str) -> GraphDef:
    """Returns the nodes and functions that a signature needs, and those that load its variables."""
    saver = graph.saver_def
    needed = [tensor.name for tensor in graph.signature_def[name].outputs.values()]
    needed += [tensor.name for tensor in graph.signature_def[name].inputs.values()]
    needed += [tensor.name for tensor in graph.signature_def[_INIT].outputs.values()]
    needed += [asset.tensor_info.name for asset in graph.asset_file_def]
    needed += [saver.restore_op_name, saver.filename_tensor_name]

    whole = graph.graph_def
    nodes: set[str] = set()
    functions: set[str] = set()
    walk = GraphWalk(whole, fed=set(), bound={})
    for scope, node in walk.reachable(node_name(tensor) for tensor in needed):
        if scope == MAIN:
            nodes.add(node.name)
        else:
            functions.add(scope)

    part = GraphDef(versions=whole.versions)
    part.node.extend(node for node in whole.node if node.name in nodes)
    part.library.function.extend(
        function
        for function in whole.library.function
        if function.signature.name in functions or not function.node_def
    )
    return part


def _initialize(session: tf.compat.v1.Session, graph: MetaGraphDef, model: Path) -> None:
    """Loads the variables, and fills tables from the assets."""
    saver = graph.saver_def
    if saver.restore_op_name:
        variables = str(model / "variables" / "variables")
        session.run(saver.restore_op_name, {saver.filename_tensor_name: variables})

    assets = {
        asset.tensor_info.name: str(model / "assets" / asset.filename)
        for asset in graph.asset_file_def
    }
    session.run(node_name(graph.signature_def[_INIT].outputs[_INIT].name), assets)


def _run(
    session: tf.compat.v1.Session, signature: SignatureDef, inputs: dict[str, Array]
) -> dict[str, Array]:
    if set(inputs) != set(signature.inputs):
        raise TypeError(f"expected inputs {sorted(signature.inputs)}, found {sorted(inputs)}")
    feed = {signature.inputs[key].name: value for key, value in inputs.items()}
    outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
    answers: dict[str, Array] = session.run(outputs, feed)
    return answers


def _load_whole(model: Path, name: str) -> Predict:
    signature = tf.saved_model.load(str(model)).signatures[name]

    def predict(inputs: dict[str, Array]) -> dict[str, Array]:
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        return {key: value.numpy() for key, value in signature(**tensors).items()}

    return predict
