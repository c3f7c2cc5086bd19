"""Signatures: what they refuse, and why they cannot serve Classify or Regress."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving.server.model_signatures import Signature, TensorSpec, method_mismatch
from serving.server.request_error import RequestError


def spec(name: str, shape: tuple[int | None, ...] | None) -> TensorSpec:
    return TensorSpec(name, f"{name}:0", types_pb2.DT_FLOAT, shape)


PAIR = Signature("pair", {"a": spec("a", (None,)), "b": spec("b", (None, 2))}, {})


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"a": np.zeros(1)}, "pair: expected the inputs a, b; found no b."),
        ({"a": 0, "b": 0, "c": 0}, "expected the inputs a, b; found unknown c."),
        ({"a": 0, "z": 0}, "found no b and unknown z."),
        ({"a": np.zeros(1), "b": np.zeros((1, 3))}, "input b: expected DT_FLOAT [?, 2], found"),
        ({"a": np.zeros(2), "b": np.zeros((1, 2))}, "expected as many rows in every input, found"),
        ({"a": np.zeros(9), "b": np.zeros((9, 2))}, "expected 1 to 8 rows in a request, found 9."),
        ({"a": np.zeros(0), "b": np.zeros((0, 2))}, "expected 1 to 8 rows in a request, found 0."),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        PAIR.check(inputs, max_rows=8)
    assert reason in str(caught.value)


def test_a_signature_of_any_shape_has_no_rows() -> None:
    signature = Signature("any", {"a": spec("a", None)}, {})
    assert str(signature.inputs["a"]) == "DT_FLOAT […]"
    assert not signature.is_row_wise
    assert signature.check({"a": np.zeros((3, 4, 5))}, max_rows=1) == 1


def definition(inputs: list[str], outputs: list[str]) -> SignatureDef:
    return SignatureDef(
        inputs=dict.fromkeys(inputs, TensorInfo()), outputs=dict.fromkeys(outputs, TensorInfo())
    )


@pytest.mark.parametrize(
    ("inputs", "outputs", "method", "reason"),
    [
        (["a", "b"], ["x"], "regression", "Expected one input Tensor."),
        (["a"], ["x", "y", "z"], "classification", "Expected one or two output Tensors, found 3"),
        (["a"], ["x", "y"], "regression", "Expected one output Tensor."),
        (["a"], ["x"], "regression", "No regression inputs found in SignatureDef: "),
        (["inputs"], ["x"], "classification", 'at least one of "classes" or "scores". Signature'),
        (["inputs"], ["x"], "regression", "No regression outputs found in SignatureDef: "),
        (["inputs"], ["outputs"], "regression", None),
        (["inputs"], ["scores"], "classification", None),
    ],
)
def test_methods(inputs: list[str], outputs: list[str], method: str, reason: str | None) -> None:
    found = method_mismatch(definition(inputs, outputs), method)
    assert found == reason or (reason is not None and reason in str(found))
