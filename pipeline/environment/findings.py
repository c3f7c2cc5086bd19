"""What `mastery doctor` looks at, one function a subject."""

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
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Literal

from pipeline.environment.glibc import NEEDED, glibc_version
from pipeline.environment.lockfile import Pin, read_lock
from pipeline.environment.preconditions import compiler_problems, platform_problems, python_problems

IMPORTED_MOST = ("apache_beam", "keras", "tensorflow", "tfx")
DISK_BYTES = (1e9, 10e9)  # less than the first is wrong, less than the second is worth saying
MEMORY_BYTES = (2e9, 8e9)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's list."""

    state: Literal["ok", "warn", "FAIL"]
    subject: str
    found: str
    advice: str = ""  # what to do, where there is something to do


def python() -> Finding:
    """Looks at the interpreter's version, and whether it is an environment's."""
    found = f"{platform.python_version()} ({sys.executable})"
    if problems := [*python_problems(), *platform_problems()]:
        return Finding("FAIL", "Python", found, " ".join(problems))
    if sys.prefix == sys.base_prefix:
        return Finding(
            "FAIL",
            "Python",
            f"{found}, not an environment's",
            "make setup, then .venv/bin/mastery doctor",
        )
    return Finding("ok", "Python", found)


def c_library() -> Finding:
    """Looks at the version of glibc, and whether the environment carries its own."""
    version = glibc_version()
    if version is None:
        return Finding("ok", "C library", "not glibc")
    own = Path(sys.prefix, "glibc").is_dir()
    found = f"glibc {'.'.join(map(str, version))}, {'carried by the environment' if own else 'of the system'}"
    if version < NEEDED:
        needed = ".".join(map(str, NEEDED))
        return Finding(
            "FAIL",
            "C library",
            found,
            f"TFX's wheels need {needed}: make setup gives .venv its own",
        )
    return Finding("ok", "C library", found)


def packages(lock: Path, gpu_lock: Path) -> Finding:
    """Compares what is installed with the locks; what only other platforms, tests or GPUs need may be missing."""
    installed = {
        item.name.lower().replace("_", "-").replace(".", "-"): item.version
        # Not all of sys.path: setuptools puts the packages it carries itself there when it is imported.
        for item in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
    }
    pins = [
        *(pin for pin in read_lock(lock) if not pin.marker),
        *_installed_pins(gpu_lock, installed),
    ]
    wrong = [
        f"{pin.name} {installed[pin.name]} instead of {pin.version}"
        for pin in pins
        if installed.get(pin.name, pin.version) != pin.version
    ]
    wrong += [
        f"{name} missing" for name in IMPORTED_MOST if name.replace("_", "-") not in installed
    ]
    if wrong:
        more = [f"and {len(wrong) - 5} more"] if len(wrong) > 5 else []
        return Finding(
            "FAIL",
            "packages",
            "; ".join(wrong[:5] + more),
            f"make setup installs what {lock.name} says",
        )
    present = sum(pin.name in installed for pin in pins)
    key = ", ".join(
        f"{name} {installed[name]}" for name in ("tfx", "tensorflow", "keras", "apache-beam")
    )
    return Finding("ok", "packages", f"{present} as in {lock.name} ({key})")


def _installed_pins(lock: Path, installed: dict[str, str]) -> list[Pin]:
    """Returns the pins of CUDA's libraries: all of them where one is installed, as one alone is of no use."""
    pins = read_lock(lock) if lock.exists() else []
    return pins if any(pin.name in installed for pin in pins) else []


def bytecode() -> Finding:
    """Looks whether the biggest packages are compiled; without, every start takes three times as long."""
    missing = [name for name in IMPORTED_MOST if not _is_compiled(name)]
    if missing:
        return Finding(
            "warn", "bytecode", f"not compiled: {', '.join(missing)}", "rm -r .venv; make setup"
        )
    return Finding("ok", "bytecode", "compiled")


def compiler() -> Finding:
    """Looks for what builds `pyfarmhash`; it is no fault to be without, where the environment is made."""
    missing = compiler_problems()
    return Finding(
        "ok",
        "compiler",
        "not complete; only make setup needs it" if missing else "C++ and Python headers",
    )


def container_engine() -> Finding:
    """Looks for Docker or Podman, which only building and running the image needs."""
    engines = [name for name in ("docker", "podman") if shutil.which(name)]
    return Finding("ok", "containers", ", ".join(engines) or "no engine; only the image needs one")


def gpu(*, wanted: bool = False) -> Finding:
    """Looks for GPUs, and opens what TensorFlow needs for them; TensorFlow itself is not imported.

    Args:
        wanted: whether to train without one is a fault (`training.device: gpu`).
    """
    from components.gpu import (  # here: the set-up runs without the rest of the project
        gpus,
        why_unseen,
    )

    fault: Literal["warn", "FAIL"] = "FAIL" if wanted else "warn"
    found = gpus()
    if not found:
        advice = (
            "training.device is gpu: use a machine with one, or `docker run --gpus all`"
            if wanted
            else ""
        )
        return Finding(
            fault if wanted else "ok", "GPU", "none seen; training runs on the CPU", advice
        )
    if reasons := why_unseen():
        return Finding(
            fault, "GPU", f"{', '.join(found)}: TensorFlow does not see it", "; ".join(reasons)
        )
    return Finding("ok", "GPU", f"{', '.join(found)}; CUDA's driver and libraries can be loaded")


def writable(folder: Path) -> Finding:
    """Tries to write into a folder, the one that runs go to."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("ok", "folder", f"{folder} can be written to")
    except OSError as error:
        return Finding(
            "FAIL", "folder", f"{folder}: {error.strerror}", "use --root with a folder of yours"
        )


def disk(folder: Path) -> Finding:
    """Looks at the space left for runs."""
    free = shutil.disk_usage(folder).free
    return _enough(
        "disk",
        free,
        DISK_BYTES,
        f"free in {folder}",
        "remove old runs, or use --root on another disk",
    )


def memory() -> Finding:
    """Looks at the memory of the machine, or of the container's limit."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        size = min(size, int(text))
    return _enough(
        "memory",
        size,
        MEMORY_BYTES,
        f"and {os.cpu_count()} CPUs",
        "use a bigger machine or a smaller log",
    )


def tensorflow(*, gpu_wanted: bool = False) -> Finding:
    """Imports TensorFlow, which takes seconds, and asks it for devices.

    Args:
        gpu_wanted: whether none among them is a fault (`training.device: gpu`).
    """
    code = "import tensorflow as tf; print(tf.__version__, *(d.name for d in tf.config.list_logical_devices()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if run.returncode:
        return Finding(
            "FAIL",
            "TensorFlow",
            (run.stderr.strip().splitlines() or ["crashed"])[-1],
            "rm -r .venv; make setup",
        )
    found = run.stdout.strip()
    if gpu_wanted and "GPU" not in found:
        return Finding(
            "FAIL", "TensorFlow", found, "training.device is gpu: the line GPU says what is missing"
        )
    return Finding("ok", "TensorFlow", found)


def _enough(
    subject: str, size: float, bounds: tuple[float, float], where: str, advice: str
) -> Finding:
    found = f"{size / 1e9:.1f} GB {where}"
    if size >= bounds[1]:
        return Finding("ok", subject, found)
    return Finding(
        "FAIL" if size < bounds[0] else "warn",
        subject,
        found,
        f"{bounds[1] / 1e9:.0f} GB is comfortable: {advice}",
    )


def _is_compiled(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
        return False
    sources = Path(spec.origin).parent.glob("*.py")
    return all(Path(importlib.util.cache_from_source(str(source))).exists() for source in sources)
