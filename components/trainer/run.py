"""What TFX's Trainer runs: turns transformed examples into a SavedModel and a training history."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.config.fairness import Remedies
from components.contracts.names import LOGS, SEEDS, WITHOUT_REMEDIES
from components.contracts.training_history import TrainingHistory
from components.node.settings import TrainerSettings
from components.trainer.calibration import fit_temperature
from components.trainer.calibration_split import CalibrationSplit
from components.trainer.distributed.checkpoint import assign
from components.trainer.distributed.order import Order, absolute_uri
from components.trainer.distributed.places import place_of
from components.trainer.distributed.supervisor import fit_on_workers
from components.trainer.export import export_model
from components.trainer.fit import (
    Devices,
    FitCallbacks,
    beside_workers,
    choose_devices,
    fit_network,
    full_float32,
    reproducible,
)
from components.trainer.network import NetworkInputs, count_parameters, read_network_inputs
from components.trainer.preparation import (
    batches_of,
    evaluation_of,
    network_of,
    take_over_weights,
)


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
    alone = settings.training.workers == 1
    devices = (choose_devices if alone else beside_workers)(settings.training)
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


def fit_only(
    fn_args: FnArgs, settings: TrainerSettings, *watchers: keras.callbacks.Callback
) -> TrainingHistory:
    """Fits the model of the first seed as `run_fn` does, exports nothing, and frees its memory.

    Args:
        fn_args: examples, the transform graph, and a folder for what is needed while it is fitted.
        settings: of the model; one worker.
        watchers: what Keras calls too; one may end the fit by raising an error.

    Raises:
        TrainingError: as `run_fn`.
    """
    devices = choose_devices(settings.training)
    if settings.steps.shared:
        devices = devices.first()
    try:
        with reproducible(settings.training.seed):
            transform = tft.TFTransformOutput(fn_args.transform_graph_path)
            inputs = read_network_inputs(settings, transform)
            _, history = _fit(fn_args, settings, devices, transform, inputs, "", *watchers)
    finally:
        _free_memory()
    return history


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
        fit = _fit if training.workers == 1 else _fit_on_workers
        network, history = fit(fn_args, settings, devices, transform, inputs, name)
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
    *watchers: keras.callbacks.Callback,
) -> tuple[keras.Model, TrainingHistory]:
    """Returns the fitted network, not yet calibrated, and how the fit went."""
    training = settings.training
    strategy = devices.strategy()
    run = Path(fn_args.model_run_dir)
    with _scratch_folder(run) as scratch:
        train, evaluation = batches_of(
            fn_args.train_files,
            fn_args.eval_files,
            settings,
            inputs,
            transform,
            strategy.num_replicas_in_sync,
            scratch,
        )
        with strategy.scope():
            network = network_of(settings, inputs, devices.lstm)
        start = take_over_weights(network, settings, inputs, fn_args.base_model)
        callbacks = FitCallbacks(training, _logs_folder(run, name), name)
        fit = fit_network(network, train, evaluation, training, callbacks, *watchers)
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


def _fit_on_workers(
    fn_args: FnArgs,
    settings: TrainerSettings,
    devices: Devices,
    transform: tft.TFTransformOutput,
    inputs: NetworkInputs,
    name: str,
) -> tuple[keras.Model, TrainingHistory]:
    """Has other processes fit the network; returns it, not yet calibrated, and how the fit went.

    Until they are done, this process holds no examples, no network and no memory of a GPU.
    """
    training = settings.training
    run = Path(fn_args.model_run_dir)
    with place_of(training) as (place, shared), _scratch_folder(shared or run) as scratch:
        order = Order(
            settings=settings,
            train_files=[absolute_uri(files) for files in fn_args.train_files],
            eval_files=[absolute_uri(files) for files in fn_args.eval_files],
            transform_graph=absolute_uri(fn_args.transform_graph_path),
            base_model=fn_args.base_model and absolute_uri(fn_args.base_model),
            workers=training.workers,
            folder=absolute_uri(str(scratch)),
            logs=absolute_uri(str(_logs_folder(run, name))),
            name=name,
        )
        fit = fit_on_workers(order, place)

    with _scratch_folder(run) as scratch:
        network = network_of(settings, inputs, devices.lstm)
        assign(network.weights, fit.weights)
        evaluation = evaluation_of(fn_args.eval_files, settings, inputs, transform, scratch)
        temperature = _calibrate(network, settings, evaluation)

    history = TrainingHistory(
        **fit.result.model_dump(exclude={"format"}),
        precision=training.precision,
        temperature=temperature,
        parameters=count_parameters(network),
        workers=training.workers,
        lost_workers=fit.lost,
        resumed_epochs=fit.resumed_epochs,
    )
    return network, history


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
