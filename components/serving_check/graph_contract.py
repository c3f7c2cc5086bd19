"""The contract of a served graph: its signatures and tensors, and operations for any machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef, TensorInfo
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from components.contracts.names import (
    ANSWER_TEXT,
    ATTRIBUTIONS,
    BASIS,
    CLASSES,
    DIRECTIONS,
    EXAMPLES,
    EXPLAIN,
    EXPLAIN_STEPS,
    EXPLAINED_CLASS,
    EXPLAINED_FEATURES,
    NUM_STEPS,
    PREDICT_STEPS,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
    SERVE,
    SERVING_DEFAULT,
    STEP_ATTRIBUTIONS,
    TYPICAL_ANSWER,
    UNFAMILIAR,
    decision_output,
)
from components.model_version.folders import SAVED_MODEL
from components.model_version.operations import operations, without_cpu_kernel
from components.model_version.safe_graph import graph_problems
from components.serving_check.questions import ModelInputs

if TYPE_CHECKING:
    from components.contracts.model_card import ModelCard

Shape = tuple[int | None, ...]
ANY = -1  # in a shape: any size
Spec = Mapping[str, tuple[set[str], Shape]]  # possible dtypes, and the shape, by name


def read_graph(model: Path) -> MetaGraphDef | None:
    """Returns the graph of a SavedModel that a server loads; None if there is none."""
    try:
        saved = SavedModel.FromString((model / SAVED_MODEL).read_bytes())
    except (OSError, DecodeError):
        return None
    return next((graph for graph in saved.meta_graphs if SERVE in graph.meta_info_def.tags), None)


def contract_problems(graph: MetaGraphDef, card: ModelCard) -> list[str]:
    """Lists how signatures and operations differ from what clients and servers rely on.

    Operations that could do more than compute are listed as well: our server would refuse to load
    the model.
    """
    problems = [*_gpu_only_operations(graph), *graph_problems(graph)]
    inputs = ModelInputs.of(card)
    outputs, optional = _outputs(card), _optional_outputs(card)
    is_sure = "uncertainty" in card.config
    wanted = {
        SERVING_DEFAULT: (_EXAMPLES, outputs),
        PREDICT_STEPS: (_dense_inputs(inputs), outputs),
    }
    if explains(card):
        named: Spec = {EXPLAINED_CLASS: ({"string"}, (None,))} if card.classes else {}
        explained = {**outputs, **named, **_explanations(card, inputs)}
        wanted[EXPLAIN] = ({**_EXAMPLES, **named}, explained)
        wanted[EXPLAIN_STEPS] = ({**_dense_inputs(inputs), **named}, explained)

    for name, (asked, answered) in wanted.items():
        if name not in graph.signature_def:
            found = ", ".join(sorted(graph.signature_def)) or "none"
            problems.append(f"expected a signature {name}, found {found}")
            continue

        signature = graph.signature_def[name]
        beside = {
            key: spec
            for key, spec in optional.items()
            if key in signature.outputs or (is_sure and key != UNFAMILIAR)
        }
        problems += _differences(f"{name}, input", signature.inputs, asked)
        problems += _differences(f"{name}, output", signature.outputs, {**answered, **beside})
    return problems


def explains(card: ModelCard) -> bool:
    """Returns whether a model has the signatures that explain; older ones have not."""
    return bool(card.config.get("explain", {}).get("enabled", False))


def input_dtypes(signature: SignatureDef) -> dict[str, str]:
    """Returns the dtype of each input, such as `float32`."""
    return {name: _dtype(tensor) for name, tensor in signature.inputs.items()}


_EXAMPLES: Spec = {EXAMPLES: ({"string"}, (None,))}


def _dense_inputs(inputs: ModelInputs) -> Spec:
    steps = {name: ({"string", "float32"}, (None, None)) for name in inputs.steps}
    outcomes = {name: ({"string", "float32", "int64"}, (None,)) for name in inputs.outcomes}
    return {**steps, **outcomes, NUM_STEPS: ({"int64"}, (None,))}


def _outputs(card: ModelCard) -> Spec:
    basis = {BASIS: ({"string"}, (None,))}
    if card.task == "regression":
        return {PREDICTION: ({"float32"}, (None,)), **basis}

    count = len(card.classes)
    return {
        CLASSES: ({"string"}, (None, count)),
        PROBABILITIES: ({"float32"}, (None, count)),
        PREDICTED_CLASS: ({"string"}, (None,)),
        **basis,
        **{decision_output(item["name"]): ({"bool"}, (None,)) for item in _decisions(card)},
    }


def _explanations(card: ModelCard, inputs: ModelInputs) -> Spec:
    """Returns what the signatures that explain add, by all their features and by step."""
    of_steps = len(inputs.steps)
    reads_summaries = card.config["model"].get("summaries", False)
    by_feature = (None, ANY if reads_summaries else of_steps + len(card.config["context"]))
    return {
        EXPLAINED_FEATURES: ({"string"}, by_feature),
        ATTRIBUTIONS: ({"float32"}, by_feature),
        DIRECTIONS: ({"float32"}, by_feature),
        STEP_ATTRIBUTIONS: ({"float32"}, (None, None, of_steps)),
        TYPICAL_ANSWER: ({"float32"}, (None,)),
    }


def _optional_outputs(card: ModelCard) -> Spec:
    """Returns what says how sure an answer is.

    Models that were fitted earlier lack it, and the section `uncertainty`. Small logs do not show
    what is familiar.
    """
    count = len(card.classes)
    text: Spec = {UNFAMILIAR: ({"string"}, (None,))}
    if card.task == "regression":
        return {PREDICTION_INTERVAL: ({"float32"}, (None, 2)), **text}
    sets: Spec = {PREDICTION_SET: ({"bool"}, (None, count)), ANSWER_TEXT: ({"string"}, (None,))}
    return {**sets, **text}


def _decisions(card: ModelCard) -> Sequence[Mapping[str, Any]]:
    """Returns the configured decisions; models of earlier versions have none."""
    decisions: Sequence[Mapping[str, Any]] = card.config.get("decisions", ())
    return decisions


def _differences(where: str, tensors: Mapping[str, TensorInfo], wanted: Spec) -> Iterator[str]:
    for name in sorted(set(tensors) - set(wanted)):
        yield f"{where} {name}: not in the contract"
    for name, (dtypes, shape) in wanted.items():
        if name not in tensors:
            yield f"{where} {name}: expected {_text(dtypes, shape)}, found no such tensor"
        elif _dtype(tensors[name]) not in dtypes or not _fits(_shape(tensors[name]), shape):
            found = _text({_dtype(tensors[name])}, _shape(tensors[name]))
            yield f"{where} {name}: expected {_text(dtypes, shape)}, found {found}"


def _fits(found: Shape | None, wanted: Shape) -> bool:
    """Returns whether a shape accepts every batch and number of steps that the contract allows.

    The number of classes, or of explained features, may be open.
    """
    if found is None:
        return True
    if len(found) != len(wanted):
        return False
    return all(
        size in (None, expected) or expected == ANY
        for size, expected in zip(found, wanted, strict=True)
    )


def _shape(tensor: TensorInfo) -> Shape | None:
    shape = tf.TensorShape(tensor.tensor_shape)
    return tuple(shape.as_list()) if shape.rank is not None else None


def _dtype(tensor: TensorInfo) -> str:
    name: str = tf.dtypes.as_dtype(tensor.dtype).name
    return name


def _text(dtypes: set[str], shape: Shape | None) -> str:
    sizes = "..."
    if shape is not None:
        sizes = ", ".join("?" if size in (None, ANY) else str(size) for size in shape)
    return f"{' or '.join(sorted(dtypes))} [{sizes}]"


def _gpu_only_operations(graph: MetaGraphDef) -> Iterator[str]:
    found = without_cpu_kernel(operations(graph.graph_def))
    if found:
        names = ", ".join(found)
        yield f"expected operations that run on any machine, found {names}; export without cuDNN"
