"""`assets.extra/mastery.json`: what a SavedModel says of itself."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from components.contracts.contract import Contract

PORTABLE = "portable"  # the export that runs on any machine
GPU = "gpu"  # the export that holds operations for GPUs only; also the name of its folder


class ModelCard(Contract):
    """How a model is fed, what made it, and which exports there are.

    Attributes:
        name: the served model's name.
        task: what kind of label it predicts.
        classes: the classes in the order of its probabilities; empty for a regression.
        config: the Trainer's part of the configuration.
        code: fingerprint of the code that made it.
        exports: folders of the exports below the model's folder, by `PORTABLE` and `GPU`.
    """

    FILE: ClassVar[str] = "assets.extra/mastery.json"

    name: str
    task: Literal["classification", "regression"]
    classes: list[str] = []
    config: dict[str, Any]
    code: str = ""
    exports: dict[str, str] = {PORTABLE: "."}
