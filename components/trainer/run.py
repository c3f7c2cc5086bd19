"""What TFX's Trainer runs: turns transformed examples into a SavedModel and a training history."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.training_history import TrainingHistory
from components.node.settings import TrainerSettings
from components.trainer.batches import read_batches
from components.trainer.export import export_model
from components.trainer.fit import (
    LOGS,
    choose_devices,
    compile_network,
    fit_network,
    reproducible,
)
from components.trainer.lstm import parts_of
from components.trainer.network import (
    LstmKernel,
    NetworkInputs,
    build_network,
    count_parameters,
    read_network_inputs,
)
from components.trainer.warm_start import warm_start


def run_fn(fn_args: FnArgs) -> None:
    """Fits the model, exports it to `fn_args.serving_model_dir`, and writes its history.

    The history goes to `fn_args.model_run_dir`.

    Raises:
        TrainingError: the configured device is missing, a split lacks examples, or the loss is not
            a finite number.
    """
    settings = TrainerSettings.from_property(fn_args.custom_config["config"])
    with reproducible(settings.training.seed):
        history = _fit_and_export(fn_args, settings)
    history.write(Path(fn_args.model_run_dir))


def _fit_and_export(fn_args: FnArgs, settings: TrainerSettings) -> TrainingHistory:
    started = time.monotonic()
    training = settings.training
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    inputs = read_network_inputs(settings, transform)

    devices = choose_devices(training)
    if settings.steps.shared:
        devices = devices.first()
    strategy = devices.strategy()
    run = Path(fn_args.model_run_dir)
    with _scratch_folder(run) as scratch:
        train, evaluation = read_batches(
            fn_args.train_files,
            fn_args.eval_files,
            settings,
            inputs,
            inputs.parse_spec(transform),
            strategy.num_replicas_in_sync,
            scratch,
        )
        with strategy.scope():
            network = _build(settings, inputs, "cudnn" if devices.on_gpu else "fused")
        start = _start(network, settings, inputs, fn_args.base_model)
        logs = run / LOGS / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        fit = fit_network(network, train, evaluation, training, logs)

    gpu_export = export_model(
        network,
        inputs,
        transform,
        settings,
        code_fingerprint=fn_args.custom_config["code_fingerprint"],
        folder=Path(fn_args.serving_model_dir),
    )

    return TrainingHistory(
        epochs=fit.epochs,
        best_epoch=fit.best_epoch,
        stopped=fit.stopped,
        device=devices.described,
        device_warning=devices.warning,
        precision=training.precision,
        gpu_export=gpu_export,
        warm_start=start,
        parameters=count_parameters(network),
        seconds=round(time.monotonic() - started, 1),
    )


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
    """Copies the weights of the base model, if there is one; returns what was done."""
    if not settings.training.warm_start or not base:
        return None
    return warm_start(network, inputs, Path(base))
