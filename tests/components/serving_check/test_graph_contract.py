"""The contract of signatures, on graph definitions alone."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from components.contracts.model_card import ModelCard
from components.serving_check.graph_contract import contract_problems, input_dtypes

CONFIG: dict[str, Any] = {
    "steps": {"features": {"correct": {}}},
    "context": {},
    "prior": {"group_by": ["unit_id"]},
}
CARD = ModelCard(name="small", task="classification", classes=["low", "high"], config=CONFIG)
OUTPUTS = {
    "classes": (tf.string, [None, 2]),
    "probabilities": (tf.float32, [None, None]),
    "predicted_class": (tf.string, [None]),
    "basis": (tf.string, None),
}
STEPS = {
    "correct": (tf.float32, [None, None]),
    "num_steps": (tf.int64, [None]),
    "unit_id": (tf.string, [None]),
}
Tensors = dict[str, tuple[tf.DType, list[int | None] | None]]


def _graph(steps: Tensors = STEPS, outputs: Tensors = OUTPUTS) -> MetaGraphDef:
    graph = MetaGraphDef()
    for name, inputs in (
        ("serving_default", {"examples": (tf.string, [None])}),
        ("predict_steps", steps),
    ):
        signature = graph.signature_def[name]
        for tensors, specs in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for key, (dtype, shape) in specs.items():
                tensors[key].dtype = dtype.as_datatype_enum
                tensors[key].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return graph


def test_a_graph_that_keeps_the_contract_has_no_problems() -> None:
    assert contract_problems(_graph(), CARD) == []
    regression = ModelCard(name="small", task="regression", config=CONFIG)
    assert (
        contract_problems(
            _graph(outputs={"prediction": (tf.float32, [None]), "basis": OUTPUTS["basis"]}),
            regression,
        )
        == []
    )


def test_a_configured_decision_is_an_output_of_both_signatures() -> None:
    asked = CARD.model_copy(update={"config": {**CONFIG, "decisions": [{"name": "call"}]}})
    decided = _graph(outputs={**OUTPUTS, "decision_call": (tf.bool, [None])})
    assert contract_problems(decided, asked) == []
    assert contract_problems(_graph(), asked) == [
        f"{name}, output decision_call: expected bool [?], found no such tensor"
        for name in ("serving_default", "predict_steps")
    ]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"correct": (tf.float32, [None, 10])},
            "correct: expected float32 or string [?, ?], found float32 [?, 10]",
        ),
        (
            {"correct": (tf.float32, [1, None])},
            "correct: expected float32 or string [?, ?], found float32 [1, ?]",
        ),
        (
            {"correct": (tf.float64, [None, None])},
            "correct: expected float32 or string [?, ?], found float64 [?, ?]",
        ),
        ({"num_steps": (tf.int32, [None])}, "num_steps: expected int64 [?], found int32 [?]"),
        ({"mastery": (tf.string, [None])}, "mastery: not in the contract"),
    ],
)
def test_an_input_of_another_kind_is_a_problem(changed: Tensors, problem: str) -> None:
    assert contract_problems(_graph({**STEPS, **changed}), CARD) == [
        f"predict_steps, input {problem}"
    ]


def test_another_number_of_classes_is_a_problem_of_both_signatures() -> None:
    graph = _graph(outputs={**OUTPUTS, "classes": (tf.string, [None, 3])})

    assert contract_problems(graph, CARD) == [
        f"{name}, output classes: expected string [?, 2], found string [?, 3]"
        for name in ("serving_default", "predict_steps")
    ]


def test_a_missing_signature_is_a_problem() -> None:
    graph = _graph()
    del graph.signature_def["predict_steps"]

    assert contract_problems(graph, CARD) == [
        "expected a signature predict_steps, found serving_default"
    ]


def test_operations_are_looked_for_in_functions_too() -> None:
    graph = _graph()
    graph.graph_def.library.function.add().node_def.add().op = "CudnnRNNV3"

    assert contract_problems(graph, CARD) == [
        "expected operations that run on any machine, found CudnnRNNV3; export without cuDNN"
    ]


def test_operations_that_do_more_than_compute_are_not_pushed() -> None:
    graph = _graph()
    function = graph.graph_def.library.function.add()
    function.signature.name = "helper"
    function.node_def.add().op = "WriteFile"

    assert contract_problems(graph, CARD) == [
        "operation WriteFile in function helper, which may touch files or run code"
    ]


def test_the_dtypes_of_the_inputs() -> None:
    assert input_dtypes(_graph().signature_def["predict_steps"]) == {
        "correct": "float32",
        "num_steps": "int64",
        "unit_id": "string",
    }


def test_what_says_how_sure_a_model_is_may_be_missing_but_not_be_of_another_kind() -> None:
    sets: Tensors = {
        "prediction_set": (tf.bool, [None, 2]),
        "answer_text": (tf.string, [None]),
        "unfamiliar": (tf.string, [None]),
    }
    assert contract_problems(_graph(outputs={**OUTPUTS, **sets}), CARD) == []
    wrong = {**OUTPUTS, **sets, "prediction_set": (tf.float32, [None, 2])}
    assert contract_problems(_graph(outputs=wrong), CARD) == [
        f"{name}, output prediction_set: expected bool [?, 2], found float32 [?, 2]"
        for name in ("serving_default", "predict_steps")
    ]
