"""`mastery doctor`: examines the environment and the machine, and prints how to repair them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Literal

from pipeline.environment.installer import GPU_LOCK, LOCK, Pin, read_lock
from pipeline.environment.machine import (
    GLIBC,
    compiler_problems,
    dotted,
    glibc_version,
    platform_problems,
    python_problems,
)

ROOT = Path(__file__).resolve().parents[2]
IMPORTED_MOST = ("tfx", "tensorflow", "keras", "apache_beam")
DISK_BYTES = (1e9, 10e9)  # below the first is a failure, below the second a warning
MEMORY_BYTES = (2e9, 8e9)

State = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's list.

    Attributes:
        state: whether something has to be fixed.
        subject: what was looked at.
        found: what is there.
        advice: what to do, empty where there is nothing to do.
    """

    state: State
    subject: str
    found: str
    advice: str = ""


def doctor(*, deep: bool = False, gpu_wanted: bool = False, others: Iterable[Finding] = ()) -> int:
    """Prints one line per subject, with advice below what is wrong.

    Args:
        deep: whether to import TensorFlow as well and ask it for its devices; takes seconds.
        gpu_wanted: whether a GPU that TensorFlow cannot use is a failure (`training.device: gpu`).
        others: what else was looked at.

    Returns:
        The exit code: 1 if something has to be fixed, else 0.
    """
    runs = Path.cwd() / "runs"
    folder = runs if runs.is_dir() else runs.parent
    failed = 0
    for finding in (*_look(folder, deep=deep, gpu_wanted=gpu_wanted), *others):
        print(f"{finding.state:<5} {finding.subject:<11} {finding.found}", flush=True)
        if finding.advice:
            print(f"{'':<17} -> {finding.advice}")
        failed += finding.state == "FAIL"

    print(f"To fix: {failed}, marked FAIL." if failed else "Everything needed is there.")
    return 1 if failed else 0


def _look(folder: Path, *, deep: bool, gpu_wanted: bool) -> Iterator[Finding]:
    yield python()
    yield c_library()
    yield packages(ROOT / LOCK, ROOT / GPU_LOCK)
    yield bytecode()
    yield compiler()
    yield container_engine()
    yield gpu(wanted=gpu_wanted)
    yield writable(folder)
    yield disk(folder)
    yield memory()
    if deep:
        yield tensorflow(gpu_wanted=gpu_wanted)


def python() -> Finding:
    """Checks the interpreter's version, and whether it is an environment's."""
    found = f"{platform.python_version()} ({sys.executable})"
    if problems := [*python_problems(), *platform_problems()]:
        return Finding("FAIL", "Python", found, " ".join(problems))
    if sys.prefix == sys.base_prefix:
        advice = "make setup, then .venv/bin/mastery doctor"
        return Finding("FAIL", "Python", f"{found}, not an environment's", advice)
    return Finding("ok", "Python", found)


def c_library() -> Finding:
    """Checks the version of glibc, and whether the environment carries its own."""
    version = glibc_version()
    if version is None:
        return Finding("ok", "C library", "not glibc")
    is_own = Path(sys.prefix, "glibc").is_dir()
    owner = "carried by the environment" if is_own else "of the system"
    found = f"glibc {dotted(version)}, {owner}"
    if version < GLIBC:
        advice = f"TFX's wheels need {dotted(GLIBC)}: make setup gives .venv its own"
        return Finding("FAIL", "C library", found, advice)
    return Finding("ok", "C library", found)


def packages(lock: Path, gpu_lock: Path) -> Finding:
    """Compares what is installed with the locks.

    Packages that only other platforms, tests or GPUs need may be missing.

    Args:
        lock: the lock file.
        gpu_lock: that of CUDA's libraries.
    """
    installed = _installed_versions()
    pins = [pin for pin in read_lock(lock) if not pin.marker]
    pins += _installed_pins(gpu_lock, installed)

    wrong = [
        f"{pin.name} {installed[pin.name]} instead of {pin.version}"
        for pin in pins
        if installed.get(pin.name, pin.version) != pin.version
    ]
    names = [name.replace("_", "-") for name in IMPORTED_MOST]
    wrong += [f"{name} missing" for name in names if name not in installed]
    if wrong:
        shown = wrong[:5]
        if len(wrong) > len(shown):
            shown.append(f"and {len(wrong) - len(shown)} more")
        advice = f"make setup installs what {lock.name} says"
        return Finding("FAIL", "packages", "; ".join(shown), advice)

    present = sum(pin.name in installed for pin in pins)
    versions = ", ".join(f"{name} {installed[name]}" for name in names)
    return Finding("ok", "packages", f"{present} as in {lock.name} ({versions})")


def _installed_versions() -> dict[str, str]:
    """Returns the versions of what is in the environment, by normalized name."""
    # Not all of sys.path: setuptools puts the packages it carries there when it is imported.
    found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
    return {item.name.lower().replace("_", "-").replace(".", "-"): item.version for item in found}


def _installed_pins(lock: Path, installed: dict[str, str]) -> list[Pin]:
    """Returns the pins of CUDA's libraries if any is installed: one alone is useless."""
    pins = read_lock(lock) if lock.exists() else []
    return pins if any(pin.name in installed for pin in pins) else []


def bytecode() -> Finding:
    """Checks that the biggest packages are compiled; else a start takes three times as long."""
    missing = [name for name in IMPORTED_MOST if not _is_compiled(name)]
    if missing:
        found = f"not compiled: {', '.join(missing)}"
        return Finding("warn", "bytecode", found, "rm -r .venv; make setup")
    return Finding("ok", "bytecode", "compiled")


def compiler() -> Finding:
    """Looks for what builds `pyfarmhash`; only the set-up needs it."""
    if compiler_problems():
        return Finding("ok", "compiler", "not complete; only make setup needs it")
    return Finding("ok", "compiler", "C++ and Python headers")


def container_engine() -> Finding:
    """Looks for Docker or Podman, which only building and running the image needs."""
    engines = [name for name in ("docker", "podman") if shutil.which(name)]
    return Finding("ok", "containers", ", ".join(engines) or "no engine; only the image needs one")


def gpu(*, wanted: bool = False) -> Finding:
    """Looks for GPUs, and opens what TensorFlow needs for them; TensorFlow itself is not imported.

    Args:
        wanted: whether it is a failure if none can be used (`training.device: gpu`).
    """
    # Here, as the set-up runs without the rest of the project.
    from components.gpu import gpus, why_unseen

    found = ", ".join(gpus())
    if not found:
        nothing = "none seen; training runs on the CPU"
        if not wanted:
            return Finding("ok", "GPU", nothing)
        advice = "training.device is gpu: use a machine with one, or `docker run --gpus all`"
        return Finding("FAIL", "GPU", nothing, advice)
    if reasons := why_unseen():
        state: State = "FAIL" if wanted else "warn"
        return Finding(state, "GPU", f"{found}: TensorFlow does not see it", "; ".join(reasons))
    return Finding("ok", "GPU", f"{found}; CUDA's driver and libraries can be loaded")


def writable(folder: Path) -> Finding:
    """Tries to write into a folder, the one that runs go to."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("ok", "folder", f"{folder} can be written to")
    except OSError as error:
        advice = "use --root with a folder of yours"
        return Finding("FAIL", "folder", f"{folder}: {error.strerror}", advice)


def disk(folder: Path) -> Finding:
    """Checks the space left for runs."""
    free = shutil.disk_usage(folder).free
    advice = "remove old runs, or use --root on another disk"
    return _size("disk", free, DISK_BYTES, f"free in {folder}", advice)


def memory() -> Finding:
    """Checks the memory of the machine, or the container's limit if that is lower."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        size = min(size, int(text))
    advice = "use a bigger machine or a smaller log"
    return _size("memory", size, MEMORY_BYTES, f"and {os.cpu_count()} CPUs", advice)


def tensorflow(*, gpu_wanted: bool = False) -> Finding:
    """Imports TensorFlow, which takes seconds, and asks it for devices.

    Args:
        gpu_wanted: whether it is a failure if it has no GPU (`training.device: gpu`).
    """
    code = (
        "import tensorflow as tf; "
        "print(tf.__version__, *(device.name for device in tf.config.list_logical_devices()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["crashed"])[-1]
        return Finding("FAIL", "TensorFlow", last, "rm -r .venv; make setup")

    found = run.stdout.strip()
    if gpu_wanted and "GPU" not in found:
        advice = "training.device is gpu: the line GPU says what is missing"
        return Finding("FAIL", "TensorFlow", found, advice)
    return Finding("ok", "TensorFlow", found)


def _size(
    subject: str, size: float, bounds: tuple[float, float], what: str, advice: str
) -> Finding:
    """Compares a number of bytes with the least that is needed and what is comfortable."""
    least, comfortable = bounds
    found = f"{size / 1e9:.1f} GB {what}"
    if size >= comfortable:
        return Finding("ok", subject, found)
    state: State = "FAIL" if size < least else "warn"
    return Finding(state, subject, found, f"{comfortable / 1e9:.0f} GB is comfortable: {advice}")


def _is_compiled(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
        return False
    sources = Path(spec.origin).parent.glob("*.py")
    return all(Path(importlib.util.cache_from_source(str(source))).exists() for source in sources)


if __name__ == "__main__":
    sys.exit(doctor(deep="--deep" in sys.argv[1:]))
