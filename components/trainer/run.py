"""What TFX's Trainer runs: from transformed examples to a SavedModel and the record of its fit."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.files.atomic import write_text
from components.trainer.batches import (
    WINDOW_BATCHES,
    Batch,
    Spec,
    evaluation_batches,
    fill_up,
    read_windows,
    training_batches,
)
from components.trainer.devices import choose_devices
from components.trainer.export import export_model
from components.trainer.features import Layout, parse_spec, read_layout
from components.trainer.fit import LOGS, class_weights, compile_network, fit_network, reproducible
from components.trainer.network import build_network, count_parameters, network_inputs
from components.trainer.settings import Settings
from components.trainer.warm_start import warm_start
from components.transform import names

HISTORY = "history.json"
EVALUATION_BATCH = 1024


def run_fn(fn_args: FnArgs) -> None:
    """Fits the model and exports it to `fn_args.serving_model_dir`; the history goes to `fn_args.model_run_dir`.

    Raises:
        TrainingError: the device asked for is not there, the examples cannot be learned from, or the loss is no
            finite number.
    """
    started = time.monotonic()
    settings = Settings.model_validate_json(fn_args.custom_config["config"])
    with reproducible(settings.training.seed):
        _fit_and_export(fn_args, settings, started)


def _fit_and_export(fn_args: FnArgs, settings: Settings, started: float) -> None:
    training = settings.training
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    layout = read_layout(settings, transform)
    devices = choose_devices(training)
    strategy = devices.strategy()
    spec = parse_spec(layout, transform)
    train, evaluation = _batches(fn_args, settings, layout, spec, strategy.num_replicas_in_sync)
    with strategy.scope():
        network = build_network(
            settings, layout, cudnn=devices.on_gpu, precision=training.precision
        )
        compile_network(network, settings.label, training)
    base = Path(fn_args.base_model) if training.warm_start and fn_args.base_model else None
    start = warm_start(network, layout, base) if base else None
    run = Path(fn_args.model_run_dir)
    history = fit_network(
        network, train, evaluation, training, run / LOGS / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    )
    served = Path(fn_args.serving_model_dir)
    gpu_export = export_model(
        network, layout, transform, settings, fn_args.custom_config["code_fingerprint"], served
    )
    history |= {
        "device": devices.described,
        "device_warning": devices.warning,
        "precision": training.precision,
        "gpu_export": gpu_export,
        "warm_start": start,
        "parameters": count_parameters(network),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_text(run / HISTORY, json.dumps(history, indent=2))


def _batches(
    fn_args: FnArgs, settings: Settings, layout: Layout, spec: Spec, replicas: int
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Returns batches of (inputs, label, weight) to fit to, and to stop by."""
    training = settings.training
    size = WINDOW_BATCHES * training.batch_size
    train, evaluation = (
        read_windows(files, spec, size, settings.steps.min_steps, training.seed)
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    weights = class_weights(train, settings.label, training)

    def for_keras(batch: dict[str, tf.Tensor]) -> Batch:
        label = batch[names.LABEL]
        weight = tf.ones_like(label, tf.float32) if weights is None else tf.gather(weights, label)
        return fill_up((network_inputs(layout, batch), label, weight), replicas)

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    shuffled = training_batches(train, training.batch_size, training.seed).map(for_keras)
    ordered = evaluation_batches(evaluation, EVALUATION_BATCH).map(for_keras)
    return shuffled.prefetch(2).with_options(options), ordered.prefetch(2).with_options(options)
