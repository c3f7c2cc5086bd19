"""Writes the SavedModel, whole or not at all; on demand a second one for GPUs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.files.atomic import new_folder
from components.model_version.exports import CARD, GPU, PORTABLE
from components.model_version.operations import operations, without_cpu_kernel
from components.trainer.features import Layout
from components.trainer.network import build_network
from components.trainer.served import ServedModel
from components.trainer.settings import Settings
from components.trainer.warm_start import write_weights

NO_GPU = "none: training.gpu_export is true, but TensorFlow traced no cuDNN kernel; it does so where it sees a GPU only"


def export_model(
    network: keras.Model,
    layout: Layout,
    transform: tft.TFTransformOutput,
    settings: Settings,
    code_fingerprint: str,
    folder: Path,
) -> str | None:
    """Writes a SavedModel with both signatures, its card, and what a warm start needs.

    Args:
        network: fitted; may use cuDNN, and compute in less than float32.
        layout: of the network.
        transform: goes into the same graph.
        settings: go into the card, and say what the signatures look like.
        code_fingerprint: of the code that made the model, for the card.
        folder: where the model goes; must not be there yet, or be empty.

    Returns:
        What came of `training.gpu_export`, for the record of the fit: the folder of that export in `folder`, or why
        there is none; None where it was not asked for.
    """
    # Keras picks kernels when a graph is traced, and a graph with cuDNN's does not run on a CPU.
    portable = _float32_copy(network, settings, layout, cudnn=False)
    gpu = None
    if settings.training.gpu_export:
        fast = _float32_copy(network, settings, layout, cudnn=True)
        gpu = ServedModel(fast, layout, transform, settings)
    fused = gpu is not None and needs_gpu(gpu.functions)
    card = {
        "name": settings.name,
        "task": settings.label.task,
        "classes": settings.label.classes,
        "config": settings.model_dump(mode="json", by_alias=True),
        "code": code_fingerprint,
        "exports": {PORTABLE: ".", **({GPU: GPU} if fused else {})},
    }
    with new_folder(folder) as draft:
        _save(ServedModel(portable, layout, transform, settings), card, draft)
        write_weights(network, layout, draft)
        if gpu is not None and fused:
            _save(gpu, card, draft / GPU)
    return None if gpu is None else GPU if fused else NO_GPU


def _float32_copy(
    network: keras.Model, settings: Settings, layout: Layout, *, cudnn: bool
) -> keras.Model:
    """Returns the network that is served: what it answers does not depend on the precision it was fitted in."""
    copy = build_network(settings, layout, cudnn=cudnn)
    copy.set_weights(network.get_weights())
    return copy


def needs_gpu(functions: Mapping[str, Callable[..., Any]]) -> bool:
    """Returns whether a traced function holds an operation that has no kernel for a CPU."""
    graphs = [function.graph.as_graph_def() for function in functions.values()]  # type: ignore[attr-defined]
    return any(without_cpu_kernel(operations(graph)) for graph in graphs)


def _save(served: ServedModel, card: Mapping[str, Any], folder: Path) -> None:
    tf.saved_model.save(served, str(folder), signatures=served.functions)
    (folder / CARD).parent.mkdir(exist_ok=True)
    (folder / CARD).write_text(json.dumps(card, indent=2), encoding="utf-8")
