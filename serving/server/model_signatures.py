"""Signatures of a SavedModel: the tensors that a request must bring, and those it gets back.

The process that reads JSON works without TensorFlow, which takes half a gigabyte. So TensorFlow is
imported only where a signature is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from components.command.escape import shorten
from components.contracts.names import NUM_STEPS
from serving.server.request_error import invalid, listed

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

MAX_TEXTS = 2**20  # in one input: each takes fifty bytes in addition to its own
MAX_RANK = 32  # dimensions: NumPy's limit before its version 2
MAX_SIZE = 2**31  # of a dimension; next to one of size 0, a larger one would need no values


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: in requests and answers.
        graph_name: in the graph, such as `serving_default_examples:0`.
        enum: dtype by its number in TensorFlow's protocol buffers.
        shape: None stands for any size, or for any shape.
    """

    name: str
    graph_name: str
    enum: int
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, name: str, info: TensorInfo) -> TensorSpec:
        """Returns the spec of an entry in a SavedModel's signature."""
        import tensorflow as tf

        shape = tf.TensorShape(info.tensor_shape)
        sizes = None if shape.rank is None else tuple(shape.as_list())
        return cls(name, info.name, info.dtype, sizes)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The array's dtype; `object`, holding bytes, for strings."""
        import tensorflow as tf

        found: np.dtype[Any] = np.dtype(tf.dtypes.as_dtype(self.enum).as_numpy_dtype)
        return found

    @cached_property
    def dtype_name(self) -> str:
        """TensorFlow's name, such as `DT_FLOAT`."""
        from tensorflow.core.framework import types_pb2

        return str(types_pb2.DataType.Name(self.enum))

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Returns whether an array of this shape can be fed."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            expected in (None, size) for size, expected in zip(shape, self.shape, strict=True)
        )

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype_name} […]"
        sizes = ("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype_name} [{', '.join(sizes)}]"


@dataclass(frozen=True)
class Signature:
    """A function of the model."""

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    @classmethod
    def of(cls, name: str, definition: SignatureDef) -> Signature:
        """Returns a signature of a SavedModel."""
        inputs = sorted(definition.inputs.items())
        outputs = sorted(definition.outputs.items())
        return cls(
            name,
            {key: TensorSpec.of(key, info) for key, info in inputs},
            {key: TensorSpec.of(key, info) for key, info in outputs},
        )

    @cached_property
    def is_row_wise(self) -> bool:
        """Whether every tensor has a row per example, so that requests can share one call."""
        specs = [*self.inputs.values(), *self.outputs.values()]
        return all(spec.shape and spec.shape[0] is None for spec in specs)

    @cached_property
    def step_inputs(self) -> tuple[str, ...]:
        """Inputs [rows, steps] that can be padded, as `num_steps` gives their number of steps."""
        counts = self.inputs.get(NUM_STEPS)
        if counts is None or counts.shape != (None,) or counts.dtype.kind != "i":
            return ()
        return tuple(name for name, spec in self.inputs.items() if spec.shape == (None, None))

    def check(self, inputs: Mapping[str, Array], max_rows: int) -> int:
        """Returns the number of rows; 1 if the signature is not row-wise.

        Raises:
            RequestError: an input is missing or unknown, a shape does not fit, or there are no or
                too many rows.
        """
        if inputs.keys() != self.inputs.keys():
            found = self._difference(inputs)
            raise invalid(
                f"{self.name}: expected the inputs {', '.join(self.inputs)}; found {found}."
            )
        for name, spec in self.inputs.items():
            shape = inputs[name].shape
            if not spec.fits(shape):
                raise invalid(
                    f"{self.name}, input {name}: expected {spec}, found shape {list(shape)}."
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

    def _difference(self, inputs: Mapping[str, Array]) -> str:
        """Returns in words how the names of inputs differ from the signature's."""
        missing = sorted(self.inputs.keys() - inputs.keys())
        unknown = sorted(inputs.keys() - self.inputs.keys())
        parts = []
        if missing:
            parts.append(f"no {listed(missing)}")
        if unknown:
            parts.append(f"unknown {listed(unknown)}")
        return " and ".join(parts)


def method_mismatch(definition: SignatureDef, method: str) -> str | None:
    """Returns why a signature cannot serve Classify or Regress, in TensorFlow Serving's words.

    Args:
        definition: the signature.
        method: "classification" or "regression".

    Returns:
        The reason; None if it can.
    """
    if len(definition.inputs) != 1:
        return "Expected one input Tensor."
    outputs = set(definition.outputs)
    if method == "classification" and len(outputs) not in (1, 2):
        return f"Expected one or two output Tensors, found {len(outputs)}"
    if method == "regression" and len(outputs) != 1:
        return "Expected one output Tensor."

    text = shorten(str(definition), 1000)
    if "inputs" not in definition.inputs:
        return f"No {method} inputs found in SignatureDef: {text}"
    if method == "classification" and not outputs & {"classes", "scores"}:
        return (
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {text}'
        )
    if method == "regression" and "outputs" not in outputs:
        return f"No regression outputs found in SignatureDef: {text}"
    return None
