"""Signatures of a SavedModel: which tensors a request has to bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts.names import NUM_STEPS
from serving.server.request_error import invalid

if (
    TYPE_CHECKING
):  # the process that reads JSON does without TensorFlow, which would take half a gigabyte there
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

MAX_TEXTS = 2**20  # of one input: each takes fifty bytes beside its own
MAX_RANK = 32  # dimensions, as many as NumPy took before its version 2
MAX_SIZE = 2**31  # of a dimension; beside one of size 0, a larger one would need no values


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: in requests and answers.
        graph_name: in the graph, such as `serving_default_examples:0`.
        enum: dtype as TensorFlow's protocol buffers have it.
        shape: None stands for any size, or for any shape.
    """

    name: str
    graph_name: str
    enum: int
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, name: str, info: TensorInfo) -> TensorSpec:
        """Reads a signature's entry."""
        import tensorflow as tf

        shape = tf.TensorShape(info.tensor_shape)
        return cls(
            name, info.name, info.dtype, None if shape.rank is None else tuple(shape.as_list())
        )

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The array's dtype; `object`, of bytes, for strings."""
        import tensorflow as tf

        found: np.dtype[Any] = np.dtype(tf.dtypes.as_dtype(self.enum).as_numpy_dtype)
        return found

    @cached_property
    def dtype_name(self) -> str:
        """Such as `DT_FLOAT`."""
        from tensorflow.core.framework import types_pb2

        return str(types_pb2.DataType.Name(self.enum))

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Says whether an array of this shape can be fed."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for size, wanted in zip(shape, self.shape, strict=True)
        )

    def __str__(self) -> str:
        sizes = (
            ", ".join("?" if size is None else str(size) for size in self.shape)
            if self.shape is not None
            else "…"
        )
        return f"{self.dtype_name} [{sizes}]"


@dataclass(frozen=True)
class Signature:
    """A function of the model."""

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    @classmethod
    def of(cls, name: str, definition: SignatureDef) -> Signature:
        """Reads a SavedModel's signature."""
        inputs = {key: TensorSpec.of(key, info) for key, info in sorted(definition.inputs.items())}
        outputs = {
            key: TensorSpec.of(key, info) for key, info in sorted(definition.outputs.items())
        }
        return cls(name, inputs, outputs)

    @cached_property
    def is_row_wise(self) -> bool:
        """Whether every tensor has a row for each example, so that requests can share one call."""
        specs = [*self.inputs.values(), *self.outputs.values()]
        return all(spec.shape and spec.shape[0] is None for spec in specs)

    @cached_property
    def step_inputs(self) -> tuple[str, ...]:
        """Inputs [rows, steps] that can be padded, since `num_steps` says how many of them count."""
        counts = self.inputs.get(NUM_STEPS)
        if counts is None or counts.shape != (None,) or counts.dtype.kind != "i":
            return ()
        return tuple(name for name, spec in self.inputs.items() if spec.shape == (None, None))

    def check(self, inputs: Mapping[str, Array], max_rows: int) -> int:
        """Returns the number of rows; 1 where the signature is not row-wise.

        Raises:
            RequestError: an input is missing or unknown, a shape does not fit, or the rows are none or too many.
        """
        if inputs.keys() != self.inputs.keys():
            missing, unknown = (
                sorted(self.inputs.keys() - inputs.keys()),
                sorted(inputs.keys() - self.inputs.keys()),
            )
            found = " and ".join(
                f"{word} {', '.join(names)[:500]}"
                for word, names in (("no", missing), ("unknown", unknown))
                if names
            )
            raise invalid(
                f"{self.name}: expected the inputs {', '.join(self.inputs)}; found {found}."
            )
        for name, spec in self.inputs.items():
            if not spec.fits(inputs[name].shape):
                raise invalid(
                    f"{self.name}, input {name}: expected {spec}, found shape {list(inputs[name].shape)}."
                )
        if not self.is_row_wise:
            return 1
        sizes = {name: len(values) for name, values in inputs.items()}
        rows = next(iter(sizes.values()), 1)
        if any(size != rows for size in sizes.values()):
            raise invalid(f"{self.name}: expected as many rows in every input, found {sizes}.")
        if not 1 <= rows <= max_rows:
            raise invalid(f"{self.name}: expected 1 to {max_rows} rows in a request, found {rows}.")
        return rows


def method_mismatch(definition: SignatureDef, method: str) -> str | None:
    """Returns why a signature is none of Classify or Regress, in TensorFlow Serving's words; None where it is one.

    Args:
        definition: the signature.
        method: "classification" or "regression".
    """
    if len(definition.inputs) != 1:
        return "Expected one input Tensor."
    outputs = set(definition.outputs)
    if method == "classification" and len(outputs) not in (1, 2):
        return f"Expected one or two output Tensors, found {len(outputs)}"
    if method == "regression" and len(outputs) != 1:
        return "Expected one output Tensor."

    text = str(definition)[:1000]
    if "inputs" not in definition.inputs:
        return f"No {method} inputs found in SignatureDef: {text}"
    if method == "classification" and not outputs & {"classes", "scores"}:
        return (
            'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature '
            f"was: {text}"
        )
    if method == "regression" and "outputs" not in outputs:
        return f"No regression outputs found in SignatureDef: {text}"
    return None
