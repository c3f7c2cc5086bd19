"""Parts that need the whole pipeline: a run on the GPU, its fit again, and its exports served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gpu.report import SkippedError
from benchmarks.sample import latest_record, run_sample, simulate
from components.config.training import Training
from components.contracts.model_card import WEIGHTS, ModelCard
from components.contracts.names import GPU
from components.contracts.training_history import TrainingHistory
from components.gpu import gpus
from components.model_version.folders import find_versions
from components.node.settings import TrainerSettings

if TYPE_CHECKING:
    from benchmarks.gpu.report import Report

LOG, ROOT = "log", "root"
MODEL_RUN = "Trainer/model_run/*"  # below the folder of the nodes
LEARNERS, EPOCHS = (400, 2000), (1, 5)  # of a dry run, and of a real one
Arrays = dict[str, "np.ndarray[Any, Any]"]


def run_pipeline(report: Report) -> None:
    """Runs the sample's pipeline with an export for GPUs, and reports what its nodes did.

    Gates are left out: without a blessing no node after the Evaluator would run.

    Raises:
        RuntimeError: the run failed, or there is no export for GPUs although there is a GPU.
    """
    on_gpu = _on_gpu(report)
    simulate(LEARNERS[not report.tiny], report.folder / LOG)
    settings = {
        "training.gpu_export": "true",
        "training.device": "gpu" if on_gpu else "auto",
        "training.epochs": EPOCHS[not report.tiny],
        "gates": "[{metric: f1_macro, min: 0}]",
        "fairness.gates": "[]",
    }
    root = report.folder / ROOT
    failure = ""
    try:
        run_sample(report.folder / LOG, root, settings)
    except SystemExit as ending:  # what it printed; nodes before the failed one have ended well
        failure = str(ending)

    if any(root.glob("*/runs/*/run.json")):
        _report_run(report, root)
    if failure:
        raise RuntimeError(failure)
    export = TrainingHistory.read(_newest(root, MODEL_RUN)).gpu_export
    if on_gpu and export != GPU:
        raise RuntimeError(f"expected an export for GPUs, found {export}")


def _report_run(report: Report, root: Path) -> None:
    """Reports the nodes of the run, its fit, what ServingCheck said, and what was pushed."""
    record = latest_record(root)
    for node in record.nodes:
        report.row(
            "Nodes", node=node.id, state=node.state, seconds=node.seconds, peak_mib=node.peak_mib
        )
    for warning in record.warnings:
        report.note(f"the run warns: {warning}")

    if any(root.glob(f"*/nodes/{MODEL_RUN}/{TrainingHistory.FILE}")):
        history = TrainingHistory.read(_newest(root, MODEL_RUN))
        report.note(
            f"fitted on: {history.device}; {history.seconds} s for {len(history.epochs)} epochs "
            f"and the export; export for GPUs: {history.gpu_export}"
        )
    for file in root.glob("*/runs/*/progress/ServingCheck.txt"):
        for line in file.read_text().splitlines():
            report.note(f"ServingCheck: {line}")
    if record.pushed_version:
        names = sorted(item.name for item in Path(record.pushed_version).iterdir())
        report.note(f"pushed: {', '.join(names)}")


def fit_again(report: Report) -> None:
    """Fits again, twice in this process and in mixed precision, and compares the weights.

    Raises:
        SkippedError: there was no run.
        RuntimeError: the same fit gave other weights.
    """
    root = report.folder / ROOT
    model = _newest(root, "Trainer/model/*/Format-Serving")
    settings = TrainerSettings.model_validate(ModelCard.read(model).config)
    weights = {"in the run": _weights(model)}
    losses = {}
    for name, precision in (
        ("again", "float32"),
        ("once more", "float32"),
        ("mixed", "mixed_bfloat16"),
    ):
        training = settings.training.model_copy(update={"precision": precision})
        folder = report.folder / name.replace(" ", "-")
        history = _fit(root, settings.model_copy(update={"training": training}), folder)
        weights[name] = _weights(folder / "model")
        losses[name] = history.epochs[-1]["val_loss"]
        report.row(
            "The same fit",
            fit=name,
            precision=precision,
            device=history.device,
            seconds=history.seconds,
            val_loss=losses[name],
            gpu_export=history.gpu_export,
            largest_difference_of_a_weight=_largest(weights["in the run"], weights[name]),
        )

    apart = _largest(weights["again"], weights["once more"])
    if apart:
        raise RuntimeError(f"the same fit gave weights that differ by up to {apart:.3g}")


def serve(report: Report) -> None:
    """Has `mastery serve` load the export for GPUs, and compares its answers with the portable's.

    Raises:
        SkippedError: no version with an export for GPUs was pushed.
    """
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    from benchmarks.serving import serving
    from benchmarks.serving_clients import requests_of

    [models] = list((report.folder / ROOT).glob("*/serving")) or [Path()]
    links = models / GPU
    if not links.is_dir():
        raise SkippedError("no version with an export for GPUs was pushed")

    version = list(find_versions(models).paths.values())[-1]
    requests = requests_of(version)
    answers: dict[str, list[Any]] = {}
    for kind, folder, device in (("portable", models, "-1"), (GPU, links, "0")):
        os.environ["CUDA_VISIBLE_DEVICES"] = device
        with serving(folder, "sample") as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.ports[1]}")
            stub = PredictionServiceStub(channel)
            responses = [stub.Predict(request, 20) for request in requests]
        answers[kind] = [tf.make_ndarray(item.outputs["probabilities"]) for item in responses]

    apart = max(
        float(np.abs(one - other).max())
        for one, other in zip(answers["portable"], answers[GPU], strict=True)
    )
    report.note(f"{len(requests)} requests to both: probabilities differ by at most {apart:.3g}")


def fit_on_two_gpus(report: Report) -> None:
    """Fits with `training.workers: 2`, one GPU each, and compares the losses with one's.

    Raises:
        SkippedError: there is no such key, no second GPU, or no run.
    """
    if "workers" not in Training.model_fields:
        raise SkippedError("this version has no training.workers")
    count = len(gpus()) if _on_gpu(report) else 0
    if count < 2:
        raise SkippedError(f"two workers need two GPUs, found {count}")

    root = report.folder / ROOT
    model = _newest(root, "Trainer/model/*/Format-Serving")
    settings = TrainerSettings.model_validate(ModelCard.read(model).config)
    for workers in (1, 2):
        training = settings.training.model_copy(update={"workers": workers})
        history = _fit(
            root,
            settings.model_copy(update={"training": training}),
            report.folder / f"workers-{workers}",
        )
        report.row(
            "One fit on several GPUs",
            workers=workers,
            device=history.device,
            seconds=history.seconds,
            losses=[round(float(epoch["val_loss"] or 0), 5) for epoch in history.epochs],
        )


def _on_gpu(report: Report) -> bool:
    return bool(gpus()) and not report.tiny


def _newest(root: Path, pattern: str) -> Path:
    """Returns a folder that a node of the run has left.

    Raises:
        SkippedError: there is none.
    """
    found = max(root.glob(f"*/nodes/{pattern}"), default=None)
    if found is None:
        raise SkippedError(f"the part `fit` has left no {pattern}")
    return found


def _fit(root: Path, settings: TrainerSettings, folder: Path) -> TrainingHistory:
    """Runs what the Trainer runs, on the transformed examples of the run."""
    from tfx.components.trainer.fn_args_utils import FnArgs

    from components.trainer.run import run_fn

    examples = _newest(root, "Transform/transformed_examples/*")
    run_fn(
        FnArgs(
            train_files=[str(examples / "Split-train" / "*")],
            eval_files=[str(examples / "Split-eval" / "*")],
            transform_graph_path=str(_newest(root, "Transform/transform_graph/*")),
            serving_model_dir=str(folder / "model"),
            model_run_dir=str(folder / "run"),
            custom_config={"config": settings.to_property(), "code_fingerprint": "benchmark"},
        )
    )
    return TrainingHistory.read(folder / "run")


def _weights(model: Path) -> Arrays:
    with np.load(model / WEIGHTS) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _largest(some: Arrays, others: Arrays) -> float:
    """Returns the largest difference between the same weights of two fits; 0 if they are equal."""
    return max(float(np.abs(some[name] - others[name]).max()) for name in some)
