"""Part `setup`: the card, its driver, CUDA's libraries, and whether TensorFlow uses them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.gpu import gpus, open_cuda
from pipeline.environment.doctor import gpu as doctors_finding

if TYPE_CHECKING:
    from benchmarks.gpu.report import Report

ASKED = "name,driver_version,memory.total,compute_cap,clocks.max.sm,pstate,temperature.gpu"
PATIENCE = 20  # seconds for one command


def look(report: Report) -> None:
    """Reports everything that can be said before anything is computed, then what TensorFlow sees.

    Raises:
        RuntimeError: there is a GPU, and TensorFlow does not see it.
    """
    found = gpus()
    report.note(f"GPUs that the system shows: {', '.join(found) or 'none'}")
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"]
        report.note(f"nvidia-smi ({ASKED}): {_output(command)}")

    cuda = open_cuda()
    version = ".".join(map(str, cuda.driver)) if cuda.driver else f"none ({cuda.driver_problem})"
    report.note(f"CUDA of the driver: {version}")
    for name, error in cuda.libraries.items():
        report.row("Libraries that TensorFlow opens", library=name, opened=error or "yes")

    finding = doctors_finding(wanted=bool(found) and not report.tiny)
    advice = f" -> {finding.advice}" if finding.advice else ""
    report.note(f"`mastery doctor`: {finding.state} {finding.subject}: {finding.found}{advice}")
    _look_with_tensorflow(report, wanted=bool(found) and not report.tiny)


def _look_with_tensorflow(report: Report, *, wanted: bool) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        report.note(f"TensorFlow is not installed in {sys.executable}")
        return
    import keras
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    report.note(
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}; built for CUDA "
        f"{build.get('cuda_version', 'none')}, cuDNN {build.get('cudnn_version', 'none')}, "
        f"{', '.join(build.get('cuda_compute_capabilities', []))}"
    )
    devices = tf.config.list_physical_devices("GPU")
    for device in devices:
        details = tf.config.experimental.get_device_details(device)
        report.row("GPUs that TensorFlow sees", device=device.name, **details)
    if wanted and not devices:
        raise RuntimeError("the system shows a GPU, and TensorFlow sees none; parts.log says more")


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout or done.stderr).strip()
