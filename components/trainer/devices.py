"""What a model is fitted on: GPUs or the CPU."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

import tensorflow as tf

from components.config import Training
from components.errors import TrainingError
from components.gpu import gpus, why_unseen
from components.node.progress import report_progress


@dataclass(frozen=True)
class Devices:
    """Where a fit computes.

    Attributes:
        names: TensorFlow's names of the devices that share the work, e.g. `["/device:GPU:0"]`.
        described: for people, e.g. `2 GPUs (NVIDIA A10)` or `CPU`.
        warning: a GPU is in the machine and is not used, and why; None where there is nothing to warn of.
    """

    names: list[str]
    described: str
    warning: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it is GPUs."""
        return any("GPU" in name for name in self.names)

    def strategy(self) -> tf.distribute.Strategy:
        """Returns a mirrored strategy for several devices, one for the device where it is not TensorFlow's own choice.

        Keras places variables by it, so networks are built inside its scope.
        """
        if len(self.names) > 1:
            return tf.distribute.MirroredStrategy(self.names)
        if not self.on_gpu and tf.config.list_logical_devices("GPU"):
            return tf.distribute.OneDeviceStrategy(self.names[0])
        return tf.distribute.get_strategy()


def choose_devices(training: Training) -> Devices:
    """Returns the devices that `training.device` asks for; says so where a GPU is there and cannot be used.

    Raises:
        TrainingError: `training.device` is gpu and TensorFlow sees none, or `training.precision` needs one.
    """
    if training.device == "cpu":
        with contextlib.suppress(
            RuntimeError
        ):  # too late where the process has used TensorFlow before
            tf.config.set_visible_devices([], "GPU")
        return Devices(_names("CPU"), "CPU")

    if seen := _names("GPU"):
        models = dict.fromkeys(map(_model, tf.config.list_physical_devices("GPU")))
        count = "1 GPU" if len(seen) == 1 else f"{len(seen)} GPUs"
        return Devices(seen, f"{count} ({', '.join(models)})")

    unseen = _why_not()
    if training.device == "gpu":
        raise TrainingError(
            f"training.device: expected a GPU that TensorFlow sees, found none: {unseen or _ABSENT}."
        )
    if training.precision == "mixed_float16":
        raise TrainingError(
            f"training.precision: mixed_float16 needs a GPU, and TensorFlow sees none: {unseen or _ABSENT}. "
            "Use mixed_bfloat16 or float32 on a CPU."
        )
    if unseen is None:
        return Devices(_names("CPU"), "CPU")
    warning = (
        f"fitted on the CPU, although {unseen}. To have the run fail instead: training.device: gpu"
    )
    logging.getLogger(__name__).warning("%s", warning)
    report_progress(warning)
    return Devices(_names("CPU"), "CPU", warning)


_ABSENT = (
    "this machine or container has none. Start a container with `docker run --gpus all`; on Kubernetes ask for "
    "`nvidia.com/gpu`, as `kubeflow.nodes` does"
)


def _names(kind: str) -> list[str]:
    return [device.name for device in tf.config.list_logical_devices(kind)]


def _why_not() -> str | None:
    """Returns why a GPU that is in the machine is not used; None where there is none."""
    found = gpus()
    if not found:
        return None
    reasons = why_unseen() or [
        "TensorFlow says why in this node's log, in the lines about GPU devices"
    ]
    return f"a GPU is here ({', '.join(found)}), TensorFlow does not see it, because {'; '.join(reasons)}"


def _model(device: tf.config.PhysicalDevice) -> str:
    return str(
        tf.config.experimental.get_device_details(device).get("device_name", "unknown model")
    )
