"""Asks the export for GPUs what the portable one was asked, where the machine has a GPU for it.

Both have the same weights; the LSTMs of one are cuDNN's. Its answers are never those of a CPU to
the last digit: a GPU adds in another order and, from NVIDIA's Ampere generation on, rounds what it
multiplies to ten bits (TF32), as TensorFlow Serving has it too. So what is looked for is another
model, not another rounding.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts.names import BASIS, GPU, PREDICTION, PROBABILITIES
from components.gpu import gpus, show_gpus, why_unseen
from components.model_version.exports import exports
from components.node.progress import report_progress
from components.serving_check.replay import ServingError
from components.serving_check.standby import FreshProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from components.serving_check.questions import Question

    Answers = Mapping[str, np.ndarray[Any, Any]]
    Ask = Callable[[FreshProcess, Path, Sequence[Question], str], Sequence[Answers]]

# Of a probability; relative for a regression's answers above 1. TF32, emulated, moved those of the
# sample's network by at most .0009.
TOLERANCE = 0.01


def check_gpu_export(
    model: Path, questions: Sequence[Question], portable: Sequence[Answers], ask: Ask
) -> None:
    """Compares answers of a model's export for GPUs, if it has one and this machine a GPU for it.

    Args:
        model: the folder of the portable export.
        questions: what the portable export was asked, without explanations.
        portable: its answers.
        ask: has a process answer questions; see `check.ask`.

    Raises:
        ServingError: the export does not load on the GPU, fails there, or is another model.
    """
    folder = exports(model).get(GPU)
    if folder is None:
        return
    if missing := _missing():
        report_progress(f"the export for GPUs was not asked: {missing}")
        return

    with FreshProcess(gpus=True) as process:
        found = ask(process, model / folder, questions, "with a GPU")
    apart = max(map(_apart, portable, found), default=0.0)
    if not apart <= TOLERANCE:
        raise ServingError(
            f"{model / folder}: on this machine's GPU an answer differs from the portable "
            f"export's by {apart:.3g} (tolerance {TOLERANCE:g}): the two are not the same model, "
            "and nothing is pushed. Look for another driver or other versions of CUDA's libraries "
            "than requirements-gpu.lock has; training.gpu_export: false pushes the portable export "
            "alone."
        )
    report_progress(f"the export for GPUs answers as the portable one, within {apart:.2g}")


def _missing() -> str:
    """Returns why no GPU can be asked here; an empty text if one can."""
    if not gpus():
        return "this machine has no GPU"
    environment = dict(os.environ)
    show_gpus(environment)  # they are hidden from this process, not from the one that answers
    return "; ".join(why_unseen(environment))


def _apart(expected: Answers, found: Answers) -> float:
    """Returns the largest distance of two answers; infinite if another basis is named."""
    if not np.array_equal(expected[BASIS], found[BASIS]):
        return float("inf")
    name = PROBABILITIES if PROBABILITIES in expected else PREDICTION
    wanted, given = (answers[name].astype(np.float64) for answers in (expected, found))
    scale = np.maximum(np.abs(wanted), 1.0)
    return float(np.nan_to_num(np.abs(given - wanted) / scale, nan=np.inf).max(initial=0.0))
