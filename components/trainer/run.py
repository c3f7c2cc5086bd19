"""What TFX's Trainer runs: turns transformed examples into a SavedModel and a training history."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.config.fairness import Remedies
from components.contracts.names import REWEIGHED, SEEDS, WITHOUT_REMEDIES
from components.contracts.training_history import TrainingHistory
from components.errors import TrainingError
from components.node.settings import TrainerSettings
from components.trainer.batches import read_batches
from components.trainer.calibration import fit_temperature
from components.trainer.calibration_split import CalibrationSplit
from components.trainer.export import export_model
from components.trainer.fit import (
    LOGS,
    Devices,
    choose_devices,
    compile_network,
    fit_network,
    full_float32,
    reproducible,
)
from components.trainer.lstm import parts_of
from components.trainer.network import (
    NetworkInputs,
    build_network,
    count_parameters,
    read_network_inputs,
)
from components.trainer.start_from import read_start
from components.trainer.warm_start import warm_start

if TYPE_CHECKING:
    from components.trainer.states import LstmKernel


def run_fn(fn_args: FnArgs) -> None:
    """Fits the model, exports it to `fn_args.serving_model_dir`, and writes its history.

    The history goes to `fn_args.model_run_dir`, and so do the models of further seeds, which are
    fitted one after the other: each as it would be alone, with that seed. With remedies for gaps,
    so does the model that shows what they change: that of the first seed, without them.

    Raises:
        TrainingError: the configured device is missing, a split lacks examples, the loss is not a
            finite number, or the model to start from cannot be read.
    """
    started = time.monotonic()
    settings = TrainerSettings.from_property(fn_args.custom_config["config"])
    devices = choose_devices(settings.training)
    if settings.steps.shared:
        devices = devices.first()

    first, *others = seeds = seeds_of(settings)
    history = _fit_and_export(fn_args, settings, devices, first, Path(fn_args.serving_model_dir))
    measured = _only_measured(settings)
    if settings.remedies.described and settings.remedies.measure_cost:
        _free_memory()
        folder = Path(fn_args.model_run_dir, WITHOUT_REMEDIES)
        plain = measured.model_copy(update={"remedies": Remedies()})
        _fit_and_export(fn_args, plain, devices, first, folder)
    for seed in others:
        _free_memory()
        folder = Path(fn_args.model_run_dir, SEEDS, str(seed))
        _fit_and_export(fn_args, measured, devices, seed, folder)

    whole = {"seeds": seeds, "seconds": round(time.monotonic() - started, 1)}
    history.model_copy(update=whole).write(Path(fn_args.model_run_dir))


def seeds_of(settings: TrainerSettings) -> list[int]:
    """Returns the seeds of all models, the exported one's first."""
    return [settings.training.seed + index for index in range(settings.seeds)]


def _only_measured(settings: TrainerSettings) -> TrainerSettings:
    """Returns the settings of models that are measured and never served, nor asked for reasons."""
    training = settings.training.model_copy(update={"gpu_export": False})
    explain = settings.explain.model_copy(update={"enabled": False})
    return settings.model_copy(update={"training": training, "explain": explain})


def _fit_and_export(
    fn_args: FnArgs, settings: TrainerSettings, devices: Devices, seed: int, folder: Path
) -> TrainingHistory:
    """Fits one model and exports it to a folder; returns how it went."""
    training = settings.training.model_copy(update={"seed": seed})
    settings = settings.model_copy(update={"training": training})
    name = "" if settings.seeds == 1 else f"seed {seed}"
    if folder.name == WITHOUT_REMEDIES:
        name = "without remedies"

    with reproducible(seed):
        transform = tft.TFTransformOutput(fn_args.transform_graph_path)
        inputs = read_network_inputs(settings, transform)
        network, history = _fit(fn_args, settings, devices, transform, inputs, name)
        with _scratch_folder(Path(fn_args.model_run_dir)) as scratch:
            split = CalibrationSplit(fn_args.eval_files, inputs, transform, settings, scratch)
            gpu_export = export_model(
                network,
                inputs,
                transform,
                settings,
                split,
                temperature=history.temperature,
                code_fingerprint=fn_args.custom_config["code_fingerprint"],
                folder=folder,
            )
    return history.model_copy(update={"gpu_export": gpu_export})


def _fit(
    fn_args: FnArgs,
    settings: TrainerSettings,
    devices: Devices,
    transform: tft.TFTransformOutput,
    inputs: NetworkInputs,
    name: str,
) -> tuple[keras.Model, TrainingHistory]:
    """Returns the fitted network, not yet calibrated, and how the fit went."""
    training = settings.training
    strategy = devices.strategy()
    run = Path(fn_args.model_run_dir)
    with _scratch_folder(run) as scratch:
        train, evaluation = read_batches(
            fn_args.train_files,
            fn_args.eval_files,
            settings,
            inputs,
            _parse_spec(inputs, transform, settings),
            strategy.num_replicas_in_sync,
            scratch,
        )
        with strategy.scope():
            network = _build(settings, inputs, "cudnn" if devices.on_gpu else "fused")
        start = _start(network, settings, inputs, fn_args.base_model)
        logs = _logs_folder(run, name)
        fit = fit_network(network, train, evaluation, training, logs, name)
        temperature = _calibrate(network, settings, evaluation)

    history = TrainingHistory(
        epochs=fit.epochs,
        best_epoch=fit.best_epoch,
        stopped=fit.stopped,
        device=devices.described,
        device_warning=devices.warning,
        precision=training.precision,
        warm_start=start,
        temperature=temperature,
        parameters=count_parameters(network),
    )
    return network, history


def _parse_spec(
    inputs: NetworkInputs, transform: tft.TFTransformOutput, settings: TrainerSettings
) -> dict[str, object]:
    """Returns how examples are parsed: what the network reads, the label, and what weights need."""
    spec = inputs.parse_spec(transform)
    if settings.remedies.reweigh is not None:
        spec[REWEIGHED] = transform.transformed_feature_spec()[REWEIGHED]
    return spec


def _logs_folder(run: Path, name: str) -> Path:
    """Returns a new folder for TensorBoard, which shows the name of a fit among several."""
    folder = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f} {name}".strip().replace(" ", "-")
    return run / LOGS / folder


@contextmanager
def _scratch_folder(run: Path) -> Iterator[Path]:
    """Makes a folder for parsed examples, where there is room: beside what the node writes."""
    run.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".examples-", dir=run) as folder:
        yield Path(folder)


def _build(settings: TrainerSettings, inputs: NetworkInputs, lstm: LstmKernel) -> keras.Model:
    """Returns the compiled network, untrained."""
    training = settings.training
    network = build_network(
        settings,
        inputs,
        lstm=lstm,
        precision=training.precision,
        parts=parts_of(training.batch_size),
        shared=settings.steps.shared,
    )
    compile_network(network, settings.label, training)
    return network


def _start(
    network: keras.Model, settings: TrainerSettings, inputs: NetworkInputs, base: str | None
) -> str | None:
    """Copies what fits of an earlier model's weights, if there is one; returns what was done.

    Raises:
        TrainingError: the model of `training.start_from` cannot be read.
    """
    training = settings.training
    if training.start_from is not None:
        return warm_start(network, inputs, settings, read_start(Path(training.start_from)))
    if not training.warm_start or not base:
        return None
    try:
        return warm_start(network, inputs, settings, read_start(Path(base)))
    except TrainingError as error:
        return f"fresh weights: {error}"


@full_float32()
def _calibrate(
    network: keras.Model, settings: TrainerSettings, evaluation: tf.data.Dataset
) -> float | None:
    """Returns the temperature of a classifier; None without calibration."""
    if settings.label.task == "regression" or settings.training.calibration == "none":
        return None
    return fit_temperature(network, evaluation)


def _free_memory() -> None:
    """Frees what the last fit left: its graphs, and the examples that it kept in memory."""
    keras.backend.clear_session()
    gc.collect()
