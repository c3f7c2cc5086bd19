"""Writes the served model, whole or not at all, and on request a second one for GPUs.

Before anything is written, the answers of the portable network are compared with those of Keras'
own LSTMs, or of a transformer that computes the states after all steps. The Evaluator and
ServingCheck both ask the export, so neither would notice if it computed something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.contracts.model_card import ModelCard
from components.contracts.names import GPU, NUM_STEPS, PORTABLE, SUMMARIES
from components.errors import TrainingError
from components.files.atomic import new_folder
from components.model_version.operations import operations, without_cpu_kernel
from components.trainer.answer_parts import Evidence
from components.trainer.constants import fit_constants
from components.trainer.explanations import Explainer
from components.trainer.fit import full_float32
from components.trainer.network import (
    ANSWER,
    Embedded,
    NetworkInputs,
    build_network,
    copy_weights,
)
from components.trainer.served import ServedModel
from components.trainer.transform_graph import TransformGraph
from components.trainer.warm_start import write_weights

if TYPE_CHECKING:
    from components.contracts.calibration import Calibration
    from components.node.settings import TrainerSettings
    from components.trainer.calibration_split import CalibrationSplit
    from components.trainer.states import LstmKernel

NO_GPU = (
    "none: training.gpu_export is true, but TensorFlow traced no cuDNN kernel; it does so only if "
    "it sees a GPU"
)
NOT_NEEDED = "none: a transformer's portable export computes on GPUs as it is"
TOLERANCE = 1e-5  # of a probability; of a regression, relative to its largest answer above 1
PROBES = 32  # sequences whose answers are compared
PROBE_STEPS = 16  # steps of the longest of them at most; Keras computes them one by one


@full_float32()
def export_model(
    network: keras.Model,
    inputs: NetworkInputs,
    transform: tft.TFTransformOutput,
    settings: TrainerSettings,
    split: CalibrationSplit,
    *,
    temperature: float | None = None,
    code_fingerprint: str,
    folder: Path,
) -> str | None:
    """Writes a SavedModel with both signatures, its card, and what a warm start needs.

    Args:
        network: the fitted network; may use cuDNN and a lower precision than float32.
        inputs: the inputs of the network.
        transform: its graph becomes part of the model.
        settings: written into the card; they also set the inputs and outputs of the signatures.
        split: the eval split, which the constants of the graph are fitted to.
        temperature: what the exported networks divide their logits by. The weights for a warm start
            are those of the fit: were they divided, a chain of warm starts would divide again and
            again.
        code_fingerprint: fingerprint of the code that made the model, for the card.
        folder: the folder for the model, missing or empty.

    Returns:
        The folder of the export for GPUs in `folder`, or why there is none; None without
        `training.gpu_export`.

    Raises:
        TrainingError: the network to serve gives other answers than the fitted one.
    """
    portable = float32_copy(network, settings, inputs, "served", temperature)
    reference = float32_copy(network, settings, inputs, "loop", temperature)
    require_same_answers(portable, reference, probes(settings, inputs))
    evidence = Evidence(settings, split, split.answers(portable))
    parts, calibration = fit_constants(evidence, temperature=temperature)
    explainer = Explainer(portable, inputs, evidence) if settings.explain.enabled else None

    graph = TransformGraph(transform)
    # Keras picks kernels when a graph is traced, and a graph with cuDNN's does not run on a CPU.
    gpu = None
    if settings.training.gpu_export and settings.model.kind == "lstm":
        fast = float32_copy(network, settings, inputs, "cudnn", temperature)
        gpu = ServedModel(fast, inputs, graph, settings, parts)
    fused = gpu is not None and needs_gpu(gpu.functions)
    folders = {PORTABLE: ".", GPU: GPU} if fused else {PORTABLE: "."}

    card = ModelCard(
        name=settings.name,
        task=settings.label.task,
        classes=settings.label.classes,
        config=settings.model_dump(mode="json", by_alias=True, exclude={"seeds"}),
        code=code_fingerprint,
        exports=folders,
    )
    with new_folder(folder) as draft:
        served = ServedModel(portable, inputs, graph, settings, parts, explainer)
        _save(served, card, calibration, draft)
        write_weights(network, inputs, draft)
        if gpu is not None and fused:
            _save(gpu, card, calibration, draft / GPU)

    if not settings.training.gpu_export:
        return None
    if gpu is None:
        return NOT_NEEDED
    return GPU if fused else NO_GPU


def float32_copy(
    network: keras.Model,
    settings: TrainerSettings,
    inputs: NetworkInputs,
    lstm: LstmKernel,
    temperature: float | None = None,
) -> keras.Model:
    """Returns a copy to serve, whose answers do not depend on the precision of the fit.

    Its last layer holds the weights divided by the temperature, so its logits are divided by it.
    """
    copy = build_network(settings, inputs, lstm=lstm)
    copy_weights(network, copy)
    if temperature is not None:
        answer = copy.get_layer(ANSWER)
        answer.set_weights([weight / temperature for weight in answer.get_weights()])
    return copy


def probes(settings: TrainerSettings, inputs: NetworkInputs) -> dict[str, np.ndarray]:
    """Returns made-up inputs of a network: sequences of every length up to `PROBE_STEPS`."""
    longest = min(settings.steps.max_steps, PROBE_STEPS)
    draw = np.random.default_rng(0)

    def some(embedded: Embedded | None, shape: tuple[int, ...]) -> np.ndarray:
        if embedded is None:
            return draw.normal(size=shape).astype(np.float32)
        return draw.integers(0, embedded.size, shape)

    steps = {name: some(item, (PROBES, longest)) for name, item in inputs.steps.items()}
    context = {name: some(item, (PROBES,)) for name, item in inputs.context.items()}
    if inputs.summaries:
        context[SUMMARIES] = some(None, (PROBES, inputs.summaries))
    lengths = np.linspace(0, longest, PROBES).round().astype(np.int64)
    return {**steps, **context, NUM_STEPS: lengths}


def require_same_answers(
    exported: keras.Model, reference: keras.Model, features: Mapping[str, np.ndarray]
) -> None:
    """Compares a network that will be served with one that computes as the fitted one does.

    Raises:
        TrainingError: an answer differs by more than the tolerance, or is not a number.
    """
    found, expected = (
        np.asarray(network(features, training=False)) for network in (exported, reference)
    )
    # A small answer can be the difference of large numbers, and is then as inexact as they are.
    distance = np.abs(found - expected) / max(float(np.abs(expected).max()), 1.0)
    if (distance <= TOLERANCE).all():
        return

    row = int(np.nan_to_num(distance, nan=np.inf).max(axis=1).argmax())
    raise TrainingError(
        f"The network to serve answers {found[row].tolist()} where the fitted one answers "
        f"{expected[row].tolist()} (tolerance {TOLERANCE:g}), so nothing was exported. TensorFlow "
        f"{tf.__version__} computes the operations of an export (BlockLSTMV2 in place of Keras' "
        "LSTM layers, attention of the last step alone) in another way on this machine; install "
        "the versions of requirements.lock."
    )


def needs_gpu(functions: Mapping[str, Any]) -> bool:
    """Returns whether a traced function holds an operation that has no kernel for a CPU."""
    graphs = [function.graph.as_graph_def() for function in functions.values()]
    return any(without_cpu_kernel(operations(graph)) for graph in graphs)


def _save(served: ServedModel, card: ModelCard, calibration: Calibration, folder: Path) -> None:
    tf.saved_model.save(served, str(folder), signatures=served.functions)
    card.write(folder)
    calibration.write(folder)
