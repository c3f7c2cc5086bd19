"""Parts `answers` and `answers-cpu`: what the two exports answer on a GPU, and how fast.

An export here is the network of one, without Transform's graph around it: what differs between the
two are the LSTMs alone. The reference is the portable one on the CPU, in a process without a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.gpu.networks import (
    LARGE,
    SAMPLE,
    TINY,
    Columns,
    Shape,
    made_up,
    network_inputs,
    repeated,
    settings_of,
)
from benchmarks.gpu.report import SkippedError
from components.contracts.names import GPU, NUM_STEPS, PORTABLE, PROBABILITIES
from components.model_version.operations import operations, without_cpu_kernel
from components.trainer.fit import choose_devices, compile_network, reproducible
from components.trainer.network import build_network, copy_weights

if TYPE_CHECKING:
    from benchmarks.gpu.report import Report
    from components.trainer.states import LstmKernel

SEED = 7
ROWS = 4096  # that answers are compared for
BATCHES = (1, 8, 64, 512, 4096)
MOST_CALLS = 200  # of each batch
WARM_UP = 3
KERNELS: dict[str, LstmKernel] = {GPU: "cudnn", PORTABLE: "served"}
TF32 = {True: "TF32 allowed, TensorFlow's default", False: "float32 throughout"}
Answer = Callable[[Columns], "np.ndarray[Any, Any]"]


def answer_on_gpu(report: Report) -> None:
    """Fits a little, exports twice, and asks both exports on the GPU."""
    choose_devices(settings_of(TINY).training)
    for shape in _shapes(report):
        folder = report.folder / shape.name
        _export(report, shape, folder)
        columns = _probes(report, shape)
        np.savez(folder / "probes.npz", **columns)
        for tf32 in TF32:
            tf.config.experimental.enable_tensor_float_32_execution(tf32)
            for kind in KERNELS:
                answers = _load(folder / kind)(columns)
                np.save(folder / f"{kind}-{tf32}.npy", answers)
        tf.config.experimental.enable_tensor_float_32_execution(True)
        _answer_odd_batches(report, shape, folder, columns)

    for place, shape in enumerate(_shapes(report)):
        share = report.seconds_left() / (len(_shapes(report)) - place)
        _time_calls(report, shape, list(KERNELS), "GPU", time.monotonic() + share)


def answer_on_cpu(report: Report) -> None:
    """Asks the portable export on the CPU, and compares all answers of the other part with it.

    Raises:
        SkippedError: that part has left no answers.
    """
    shapes = [shape for shape in _shapes(report) if (report.folder / shape.name).is_dir()]
    if not shapes:
        raise SkippedError("it compares with what the part `answers` leaves, and that left nothing")

    for shape in shapes:
        folder = report.folder / shape.name
        columns = dict(np.load(folder / "probes.npz"))
        expected = _load(folder / PORTABLE)(columns)
        for file in sorted(folder.glob("*.npy")):
            kind, _, tf32 = file.stem.partition("-")
            distance = np.abs(np.load(file).astype(np.float64) - expected)
            report.row(
                f"Differences of {expected.size:,} probabilities from the portable export's on the "
                f"CPU, {shape.described}",
                export=kind,
                device="GPU" if not report.tiny else "CPU (dry run)",
                products=TF32[tf32 == "True"],
                largest=f"{distance.max():.3g}",
                median=f"{np.median(distance):.3g}",
                other_class=int((np.load(file).argmax(1) != expected.argmax(1)).sum()),
            )
    for place, shape in enumerate(shapes):
        share = report.seconds_left() / (len(shapes) - place)
        _time_calls(report, shape, [PORTABLE], "CPU", time.monotonic() + share)


def _shapes(report: Report) -> list[Shape]:
    return [TINY] if report.tiny else [SAMPLE, LARGE]


def _export(report: Report, shape: Shape, folder: Path) -> None:
    """Fits for some steps, so that answers are not all alike, and writes both exports."""
    settings = settings_of(shape, batch_size=256)
    columns, labels = made_up(shape, 16 if report.tiny else 2048)
    with reproducible(SEED):
        fitted = build_network(settings, network_inputs(), lstm="cudnn")
        compile_network(fitted, settings.label, settings.training)
        steps = 2 if report.tiny else 100
        history = fitted.fit(
            repeated(columns, labels), steps_per_epoch=steps, shuffle=False, verbose=0
        )
    report.note(f"{shape.described}: loss {history.history['loss'][-1]:.3f} after {steps} steps")

    for kind, kernel in KERNELS.items():
        network = build_network(settings, network_inputs(), lstm=kernel)
        copy_weights(fitted, network)
        served = _Served(network)
        tf.saved_model.save(served, str(folder / kind), signatures=served.answer)
        found = without_cpu_kernel(operations(served.answer.graph.as_graph_def()))
        report.note(f"{shape.described}: export `{kind}`, for GPUs only: {found or 'no operation'}")


class _Served(tf.Module):  # type: ignore[misc]
    """A network as a signature that takes its columns by name."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.variables_ = [weight.value for weight in network.weights]
        specs = {
            name: tf.TensorSpec([None] * len(tensor.shape), tensor.dtype, name)
            for name, tensor in network.input.items()
        }

        def answer(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {PROBABILITIES: network(columns, training=False)}

        self.answer = tf.function(answer, autograph=False).get_concrete_function(specs)


def _load(folder: Path) -> Answer:
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures["serving_default"]

    def answer(columns: Columns) -> np.ndarray[Any, Any]:
        tensors = {name: tf.constant(values) for name, values in columns.items()}
        return np.asarray(signature(**tensors)[PROBABILITIES])

    answer.model = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    return answer


def _probes(report: Report, shape: Shape) -> Columns:
    """Returns sequences of all lengths; the last one has no step, as a cold start."""
    columns, _ = made_up(shape, 16 if report.tiny else ROWS, seed=1)
    columns[NUM_STEPS][-1] = 0
    return columns


def _answer_odd_batches(report: Report, shape: Shape, folder: Path, columns: Columns) -> None:
    """Asks for no row, and for one row alone that has been asked for in a batch."""
    for kind in KERNELS:
        answer = _load(folder / kind)
        whole = answer(columns)
        alone = np.concatenate([answer(_rows(columns, row, row + 1)) for row in range(8)])
        apart = np.abs(alone - whole[: len(alone)]).max()
        report.note(
            f"{shape.described}: export `{kind}`, rows alone and in a batch of {len(whole)} differ "
            f"by at most {apart:.3g}"
        )
        try:
            found = f"shape {answer(_rows(columns, 0, 0)).shape}"
        except tf.errors.OpError as error:
            found = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        report.note(f"{shape.described}: export `{kind}`, asked for no row: {found}")


def _time_calls(report: Report, shape: Shape, kinds: list[str], device: str, ends: float) -> None:
    """Times calls by batch, the exports in turn; a call starts and ends with arrays in memory."""
    columns, _ = made_up(shape, 16 if report.tiny else ROWS, seed=2)
    answers = {kind: _load(report.folder / shape.name / kind) for kind in kinds}
    batches = (1, 8) if report.tiny else BATCHES
    for place, batch in enumerate(batches):
        until = time.monotonic() + (ends - time.monotonic()) / (len(batches) - place)
        rows = _rows(columns, 0, batch)
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        most = 10 if report.tiny else MOST_CALLS
        for call in range(WARM_UP + most):
            if call > WARM_UP and time.monotonic() > until:
                break
            for kind, answer in answers.items():
                started = time.perf_counter()
                answer(rows)
                if call >= WARM_UP:
                    times[kind].append(time.perf_counter() - started)

        for kind, taken in times.items():
            report.row(
                f"Milliseconds of a call, {shape.described}",
                export=kind,
                device="CPU" if report.tiny else device,
                batch=batch,
                p50=1e3 * median(taken),
                p95=1e3 * sorted(taken)[int(0.95 * len(taken))],
                per_second=round(batch / median(taken)),
                calls=len(taken),
            )


def _rows(columns: Columns, start: int, end: int) -> Columns:
    return {name: values[start:end] for name, values in columns.items()}
