"""`mastery doctor`: what is there, what is wrong, what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.environment import findings
from pipeline.environment.findings import Finding
from pipeline.environment.lockfile import GPU_LOCK, LOCK

ROOT = Path(__file__).resolve().parents[2]


def doctor(*, deep: bool = False, gpu_wanted: bool = False) -> int:
    """Prints one line a subject, with advice below what is wrong.

    Args:
        deep: import TensorFlow as well and ask it for its devices; takes seconds.
        gpu_wanted: whether a GPU that cannot be trained on is to be put right (`training.device: gpu`).

    Returns:
        The exit code: 1 where something has to be put right, else 0.
    """
    failed = 0
    runs = Path.cwd() / "runs"
    for finding in _findings(
        runs if runs.is_dir() else runs.parent, deep=deep, gpu_wanted=gpu_wanted
    ):
        print(f"{finding.state:<5} {finding.subject:<11} {finding.found}", flush=True)
        if finding.advice:
            print(f"{'':<17} -> {finding.advice}")
        failed += finding.state == "FAIL"
    print("Everything needed is there." if not failed else f"To put right: {failed}, marked FAIL.")
    return 1 if failed else 0


def _findings(folder: Path, *, deep: bool, gpu_wanted: bool) -> Iterator[Finding]:
    yield findings.python()
    yield findings.c_library()
    yield findings.packages(ROOT / LOCK, ROOT / GPU_LOCK)
    yield findings.bytecode()
    yield findings.compiler()
    yield findings.container_engine()
    yield findings.gpu(wanted=gpu_wanted)
    yield findings.writable(folder)
    yield findings.disk(folder)
    yield findings.memory()
    if deep:
        yield findings.tensorflow(gpu_wanted=gpu_wanted)


if __name__ == "__main__":
    sys.exit(doctor(deep="--deep" in sys.argv[1:]))
