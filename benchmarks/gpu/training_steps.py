"""Parts `cudnn` and `throughput`: how long a training step takes, and examples a second.

Steps are timed by Keras' own `fit` over one batch that is repeated, after a warm-up. Ours fits as
the Trainer does, with deterministic operations. To compare, all variants take turns in every round,
and a ratio is of two times of the same round.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from benchmarks.gpu.networks import (
    LARGE,
    SAMPLE,
    TINY,
    Shape,
    made_up,
    network_inputs,
    plain_network,
    repeated,
    settings_of,
)
from components.trainer.fit import choose_devices, compile_network, reproducible
from components.trainer.lstm import parts_of
from components.trainer.network import build_network

if TYPE_CHECKING:
    from benchmarks.gpu.report import Report
    from components.trainer.states import LstmKernel

SEED = 7
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
ROUND_SECONDS = 0.5  # that the reference takes for its steps in a round
ROUNDS = (5, 25)  # at least, at most
RESAMPLES = 2000
PLAIN = "plain Keras, use_cudnn=auto"
Context = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Variant:
    """A compiled network with its batches.

    Attributes:
        name: for tables.
        network: compiled.
        batches: an endless dataset.
        around: surrounds every call of `fit`.
    """

    name: str
    network: keras.Model
    batches: tf.data.Dataset
    around: Context = nullcontext

    def fit(self, steps: int) -> float:
        """Fits for so many steps, and returns the seconds of one."""
        with self.around():
            started = time.perf_counter()
            self.network.fit(self.batches, steps_per_epoch=steps, shuffle=False, verbose=0)
            return (time.perf_counter() - started) / steps


def compare_with_keras(report: Report) -> None:
    """Times our network, with several kernels, beside the same layers in plain Keras."""
    on_gpu = choose_devices(settings_of(TINY).training).on_gpu
    sizes = [(TINY, 8)] if report.tiny else [(SAMPLE, 256), (LARGE, 256), (SAMPLE, 4096)]
    for place, (shape, batch) in enumerate(sizes):
        share = report.seconds_left() / (len(sizes) - place)
        try:
            _compare(report, shape, batch, time.monotonic() + share, on_gpu=on_gpu)
        except tf.errors.OpError as error:  # the next size may work
            report.note(f"{shape.described}, batch {batch}: {_first_line(error)}")
        keras.backend.clear_session()


def measure_throughput(report: Report) -> None:
    """Counts examples a second of our network by batch and precision."""
    on_gpu = choose_devices(settings_of(TINY).training).on_gpu
    batches = (4, 8) if report.tiny else (256, 1024, 4096, 8192)
    shapes = [TINY] if report.tiny else [SAMPLE, LARGE]
    precisions = PRECISIONS if on_gpu else PRECISIONS[:2]  # a CPU refuses float16
    cases = [
        (shape, precision, batch)
        for shape in shapes
        for precision in precisions
        for batch in batches
    ]
    for place, (shape, precision, batch) in enumerate(cases):
        if report.seconds_left() < 0:
            report.note(f"not measured, for lack of time: {len(cases) - place} of {len(cases)}")
            return
        share = report.seconds_left() / (len(cases) - place)
        try:
            _throughput(report, shape, precision, batch, share, on_gpu=on_gpu)
        except tf.errors.OpError as error:
            report.note(f"{shape.described}, {precision}, batch {batch}: {_first_line(error)}")
        keras.backend.clear_session()


def ratio_with_interval(
    ours: Sequence[float], others: Sequence[float]
) -> tuple[float, float, float]:
    """Returns the median ratio of paired times, and its 95% interval by bootstrap over the pairs.

    >>> ratio_with_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    (0.5, 0.5, 0.5)
    """
    ratios = [one / other for one, other in zip(ours, others, strict=True)]
    draw = random.Random(0)
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
    return median(ratios), low, high


def _compare(report: Report, shape: Shape, batch: int, ends: float, *, on_gpu: bool) -> None:
    """Times all variants in turn, until the time is over."""
    warm = 2 if report.tiny else 5
    variants: dict[str, Variant] = {}
    for variant in _variants(shape, batch, on_gpu=on_gpu):
        try:
            variant.fit(warm)
        except tf.errors.OpError as error:  # the others may work
            report.note(f"{variant.name}, {shape.described}, batch {batch}: {_first_line(error)}")
        else:
            variants[variant.name] = variant
    if PLAIN not in variants:
        return

    # Five rounds of all variants fit into what is left, and a round is long enough to be timed.
    first = {name: variant.fit(warm) for name, variant in variants.items()}
    room = max(ends - time.monotonic(), 0.0) / ROUNDS[0]
    steps = max(2, round(min(ROUND_SECONDS / first[PLAIN], room / sum(first.values()))))
    steps = 2 if report.tiny else steps
    times: dict[str, list[float]] = {name: [] for name in variants}
    while len(times[PLAIN]) < (2 if report.tiny else ROUNDS[1]):
        if time.monotonic() > ends and len(times[PLAIN]) >= 2:
            break
        for name, variant in variants.items():
            times[name].append(variant.fit(steps))

    for name, taken in times.items():
        ratio, low, high = ratio_with_interval(taken, times[PLAIN])
        report.row(
            f"Seconds per step against plain Keras, float32, {shape.described}, batch {batch}",
            network=name,
            ms=1e3 * median(taken),
            fastest=1e3 * min(taken),
            slowest=1e3 * max(taken),
            ratio=ratio,
            interval=f"{low:.3f} to {high:.3f}",
            rounds=len(taken),
            steps=steps,
        )


def _variants(shape: Shape, batch: int, *, on_gpu: bool) -> list[Variant]:
    columns, labels = made_up(shape, batch)
    for_ours, for_plain = repeated(columns, labels), repeated(columns, labels, plain=True)
    kernel: LstmKernel = "cudnn" if on_gpu else "fused"
    trainer = f"ours, `{kernel}`, as the Trainer fits"
    found = [
        Variant(PLAIN, plain_network(shape, precision="float32", cudnn=True), for_plain, _seeded),
        Variant(trainer, _ours(shape, batch, kernel), for_ours, _as_trainer),
        Variant(
            f"ours, `{kernel}`, operations not deterministic",
            _ours(shape, batch, kernel),
            for_ours,
            _seeded,
        ),
    ]
    if on_gpu:  # what its fit would cost without cuDNN
        fused = _ours(shape, batch, "fused")
        found.append(Variant("ours, `fused`, as on CPUs", fused, for_ours, _as_trainer))
    return found


def _throughput(
    report: Report, shape: Shape, precision: str, batch: int, share: float, *, on_gpu: bool
) -> None:
    """Adds a row: the rates of at most five rounds, after a warm-up."""
    ends = time.monotonic() + share
    columns, labels = made_up(shape, batch)
    network = _ours(shape, batch, "cudnn" if on_gpu else "fused", precision)
    variant = Variant(precision, network, repeated(columns, labels), _as_trainer)
    variant.fit(2)
    one = variant.fit(2)

    steps = max(2, min(50, round((ends - time.monotonic()) / ROUNDS[0] / one)))
    steps = 2 if report.tiny else steps
    times = [variant.fit(steps)]
    while len(times) < ROUNDS[0] and time.monotonic() + steps * one < ends:
        times.append(variant.fit(steps))
    rates = [batch / taken for taken in times]
    report.row(
        f"Examples a second, {shape.described}",
        precision=precision,
        batch=batch,
        per_second=round(median(rates)),
        slowest=round(min(rates)),
        fastest=round(max(rates)),
        rounds=len(rates),
        steps=steps,
        gpu_peak_mib=_peak_mib() if on_gpu else "",
    )


def _ours(shape: Shape, batch: int, kernel: LstmKernel, precision: str = "float32") -> keras.Model:
    settings = settings_of(shape, precision=precision, batch_size=batch)
    keras.utils.set_random_seed(SEED)
    network = build_network(
        settings, network_inputs(), lstm=kernel, precision=precision, parts=parts_of(batch)
    )
    compile_network(network, settings.label, settings.training)
    return network


def _as_trainer() -> AbstractContextManager[None]:
    return reproducible(SEED)


def _seeded() -> AbstractContextManager[None]:
    keras.utils.set_random_seed(SEED)
    return nullcontext()


def _peak_mib() -> int:
    """Returns the most memory of the GPU that was in use since the last call."""
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    tf.config.experimental.reset_memory_stats("GPU:0")
    return int(peak >> 20)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
