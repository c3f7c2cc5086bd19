"""Writes the SavedModel, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.atomic import new_folder
from components.trainer.features import Layout
from components.trainer.served import ServedModel
from components.trainer.settings import Settings
from components.trainer.warm_start import write_weights

CARD = "assets.extra/mastery.json"  # says how a model is fed and what made it


def export_model(
    network: keras.Model,
    layout: Layout,
    transform: tft.TFTransformOutput,
    settings: Settings,
    code_fingerprint: str,
    folder: Path,
) -> None:
    """Writes a SavedModel with both signatures, its card, and what a warm start needs.

    Args:
        network: fitted.
        layout: of the network.
        transform: goes into the same graph.
        settings: go into the card, and say what the signatures look like.
        code_fingerprint: of the code that made the model, for the card.
        folder: where the model goes; must not be there yet, or be empty.
    """
    served = ServedModel(network, layout, transform, settings)
    with new_folder(folder) as draft:
        tf.saved_model.save(served, str(draft), signatures=served.functions)
        write_weights(network, layout, draft)
        card = {
            "name": settings.name,
            "task": settings.label.task,
            "classes": settings.label.classes,
            "config": settings.model_dump(mode="json", by_alias=True),
            "code": code_fingerprint,
        }
        (draft / CARD).write_text(json.dumps(card, indent=2), encoding="utf-8")
