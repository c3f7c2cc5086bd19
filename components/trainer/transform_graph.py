"""Transform's graph for the served model, without what an answer does not need.

TFT's own layer calls the whole function, with made-up labels, keys and slices for inputs, and is
saved as a Keras model. Here, only the operations that lead to the wanted features are copied into
the graph that is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import tensorflow as tf

from components.model_version.graph_walk import node_name

if TYPE_CHECKING:
    import tensorflow_transform as tft

Column: TypeAlias = tf.Tensor | tf.SparseTensor | tf.RaggedTensor


class TransformGraph(tf.Module):  # type: ignore[misc]
    """Computes transformed features; several served models can share it.

    Attributes:
        raw_feature_spec: how the raw columns are parsed.
    """

    def __init__(self, transform: tft.TFTransformOutput) -> None:
        super().__init__()
        loaded = tf.saved_model.load(transform.transform_savedmodel_dir)
        function = loaded.transform_fn
        self.raw_feature_spec = transform.raw_feature_spec()
        self._tables = [loaded.resources, loaded.assets]  # saved with the model

        # Hidden in a function, because what is an attribute is saved.
        self._get_function: Callable[[], Any] = lambda: function

    def __call__(self, columns: Mapping[str, Column], wanted: Collection[str]) -> dict[str, Column]:
        """Returns features, in a graph that is being traced.

        Args:
            columns: the raw columns, as the schema represents them, that the features depend on.
            wanted: names of the features.

        Raises:
            ValueError: a feature depends on a column that is not given.
        """
        function = self._get_function()
        (specs,), _ = function.structured_input_signature
        count = len(function.inputs) - len(function.captured_inputs)
        arguments = _packed(specs, function.inputs[:count])
        results = _packed(function.structured_outputs, function.outputs)

        given = _by_name(function.inputs[count:], map(_in_graph, function.captured_inputs))
        for name, column in columns.items():
            given |= _by_name(_flat(arguments[name]), _flat(column))

        features = {name: results[name] for name in wanted}
        copied: dict[str, Column] = _packed(
            features, _copied(function.graph, given, _flat(features))
        )
        return copied


def _by_name(tensors: Iterable[tf.Tensor], values: Iterable[tf.Tensor]) -> dict[str, tf.Tensor]:
    return {tensor.op.name: value for tensor, value in zip(tensors, values, strict=True)}


def _in_graph(captured: tf.Tensor) -> tf.Tensor:
    """Returns what a function has captured, in the graph that is being traced."""
    return tf.identity(captured) if captured.dtype == tf.resource else tf.constant(captured.numpy())


def _copied(
    graph: tf.Graph, given: Mapping[str, tf.Tensor], wanted: list[tf.Tensor]
) -> list[tf.Tensor]:
    """Copies the operations that lead to tensors of a graph into the graph that is being traced.

    Args:
        graph: the graph that holds them.
        given: values by the names of placeholders in `graph`.
        wanted: tensors of `graph`.

    Returns:
        The wanted tensors in the graph that is being traced.
    """
    whole = graph.as_graph_def()
    nodes = {node.name: node for node in whole.node}
    pending = [tensor.op.name for tensor in wanted]
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += [node_name(item) for item in nodes[name].input]

    copies = [node for node in whole.node if node.name in reached and node.name not in given]
    if missing := [node.name for node in copies if node.op == "Placeholder"]:
        raise ValueError(f"expected columns for all that is wanted, found none for {missing}")

    part = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
    part.node.extend(copies)
    used = {f"{name}:0": given[name] for name in given if name in reached}
    names = [tensor.name for tensor in wanted]
    copied: list[tf.Tensor] = list(tf.graph_util.import_graph_def(part, used, names, "transform"))
    for tensor, original in zip(copied, wanted, strict=True):
        tensor.set_shape(original.shape)
    return copied


def _packed(structure: Any, tensors: list[tf.Tensor]) -> Any:
    return tf.nest.pack_sequence_as(structure, tensors, expand_composites=True)


def _flat(structure: Any) -> list[tf.Tensor]:
    tensors: list[tf.Tensor] = tf.nest.flatten(structure, expand_composites=True)
    return tensors
