"""`history.json`: how the Trainer fitted the network."""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract


class TrainingHistory(Contract):
    """How a fit went.

    Attributes:
        epochs: one entry per epoch: its number from 1 as `epoch`, and what Keras measured, by name;
            what it measured on the eval split is named `val_...`.
        best_epoch: number of the epoch whose weights were kept.
        stopped: why the fit ended.
        device: what it ran on, in words.
        device_warning: why a GPU of the machine was not used; None without a warning.
        precision: what the layers computed in, such as `float32`.
        gpu_export: the folder of the export for GPUs, or why there is none; None without
            `training.gpu_export`.
        warm_start: what was taken over of an earlier model's weights, what not and why, in lines;
            None without an earlier model.
        temperature: what the exported logits are divided by; None without calibration.
        workers: how many processes shared each batch.
        lost_workers: which workers were lost, when, why, and what was gone on from, in words.
        resumed_epochs: the epochs that were gone on from, one for each loss; 0: the start.
        seeds: the seeds of the models that were fitted, the exported one's first.
        parameters: how many weights the network has.
        seconds: how long fitting and exporting took.
    """

    FILE: ClassVar[str] = "history.json"

    epochs: list[dict[str, int | float | None]] = []
    best_epoch: int | None = None
    stopped: str | None = None
    device: str | None = None
    device_warning: str | None = None
    precision: str | None = None
    gpu_export: str | None = None
    warm_start: str | None = None
    temperature: float | None = None
    workers: int = 1
    lost_workers: list[str] = []
    resumed_epochs: list[int] = []
    seeds: list[int] = []
    parameters: int | None = None
    seconds: float | None = None
