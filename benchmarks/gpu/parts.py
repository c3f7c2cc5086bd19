"""The parts of the script: what each looks at, how long it may take, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass

TENSORFLOW = ("tensorflow", "keras", "numpy", "pydantic", "yaml")
PIPELINE = (*TENSORFLOW, "tfx", "tensorflow_transform", "apache_beam", "polars")


@dataclass(frozen=True)
class Part:
    """One part, which runs in a process of its own.

    Attributes:
        title: what it looks at.
        function: its module and its function, which gets a `Report`.
        seconds: its share of the time, imports included.
        needs: packages without which it is skipped.
        hides_gpus: whether TensorFlow is to see no GPU in its process.
    """

    title: str
    function: str
    seconds: float
    needs: tuple[str, ...] = ()
    hides_gpus: bool = False


# In the order in which they run: what the later ones find matters less, or needs the earlier ones.
PARTS = {
    "setup": Part("Set-up", "benchmarks.gpu.set_up:look", 40),
    "cudnn": Part(
        "Seconds per training step, beside plain Keras",
        "benchmarks.gpu.training_steps:compare_with_keras",
        120,
        TENSORFLOW,
    ),
    "throughput": Part(
        "Examples a second while fitting",
        "benchmarks.gpu.training_steps:measure_throughput",
        90,
        TENSORFLOW,
    ),
    "answers": Part(
        "The export for GPUs beside the portable one, on the GPU",
        "benchmarks.gpu.answers:answer_on_gpu",
        80,
        TENSORFLOW,
    ),
    "answers-cpu": Part(
        "The portable export on the CPU, and how far the others differ from it",
        "benchmarks.gpu.answers:answer_on_cpu",
        40,
        TENSORFLOW,
        hides_gpus=True,
    ),
    "fit": Part(
        "A run of the pipeline: fit, both exports, ServingCheck",
        "benchmarks.gpu.pipeline_run:run_pipeline",
        95,
        PIPELINE,
    ),
    "again": Part(
        "The same fit twice, and in mixed precision",
        "benchmarks.gpu.pipeline_run:fit_again",
        65,
        PIPELINE,
    ),
    "serve": Part(
        "The export for GPUs in `mastery serve`",
        "benchmarks.gpu.pipeline_run:serve",
        40,
        (*PIPELINE, "uvicorn"),
    ),
    "workers": Part(
        "One fit on two GPUs", "benchmarks.gpu.pipeline_run:fit_on_two_gpus", 30, PIPELINE
    ),
}  # fmt: skip
