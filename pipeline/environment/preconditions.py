"""What the machine has to bring along, looked at before anything is downloaded."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from pipeline.environment.errors import SetupError
from pipeline.environment.glibc import glibc_version
from pipeline.environment.uv import uv_on_path

PYTHONS = ((3, 11), (3, 13))  # first and last minor version
DISK_BYTES = 5 * 10**9  # the environment and uv's cache of it
GPU_DISK_BYTES = 8 * 10**9  # more, for CUDA's libraries


def check_machine(root: Path, *, gpu: bool = False) -> None:
    """Looks for everything the set-up needs.

    Args:
        root: where the environment goes.
        gpu: whether CUDA's libraries are part of it.

    Raises:
        SetupError: something is missing; all of it is listed.
    """
    disk = disk_problems(root, DISK_BYTES + (GPU_DISK_BYTES if gpu else 0))
    machine = [*python_problems(), *platform_problems(), *(gpu_problems() if gpu else ()), *disk]
    if problems := [*machine, *compiler_problems(), *installer_problems(root)]:
        raise SetupError("\n".join(problems))


def python_problems() -> list[str]:
    """Returns what is wrong with the running Python's version."""
    first, last = PYTHONS
    if first <= sys.version_info[:2] <= last:
        return []
    return [
        f"Python: expected 3.{first[1]} to 3.{last[1]}, found {platform.python_version()} ({sys.executable}). "
        "Name another one: make setup PYTHON=python3.12"
    ]


def platform_problems() -> list[str]:
    """Returns why TensorFlow's wheels do not exist for this platform."""
    here = f"{platform.system()} on {platform.machine()}"
    advice = "Expected Linux on x86_64 or aarch64, or macOS on Apple silicon"
    if (sys.platform, platform.machine()) not in {
        ("linux", "x86_64"),
        ("linux", "aarch64"),
        ("darwin", "arm64"),
    }:
        return [f"Platform: {advice}; found {here}. Use Docker there: docker build -t mastery ."]
    if sys.platform == "linux" and glibc_version() is None:
        return [
            f"Platform: {advice}, with glibc; found {here} with another C library (musl?). Use Docker there."
        ]
    return []


def compiler_problems() -> list[str]:
    """Returns what is missing to build `pyfarmhash`, which TFDV needs and which comes as source only."""
    problems = []
    compiler = (os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++").split()[0]
    if not shutil.which(compiler):
        problems.append(f"C++ compiler: expected `{compiler}`, found none. {_how_to_get('g++')}")
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if not headers.exists():
        problems.append(
            f"Python headers: expected {headers}, found none. {_how_to_get('python3-dev')}"
        )
    return problems


def installer_problems(root: Path) -> list[str]:
    """Returns why nothing can be installed: no uv, and no pip to get it with."""
    if uv_on_path(root) or importlib.util.find_spec("ensurepip"):
        return []
    return [
        f"Installer: expected `uv` on PATH or pip's `ensurepip`, found neither. {_how_to_get('python3-venv')}"
    ]


def gpu_problems() -> list[str]:
    """Returns why TensorFlow has no CUDA for this platform."""
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        return []
    here = f"{platform.system()} on {platform.machine()}"
    return [
        f"GPU: expected Linux on x86_64, the platform of TensorFlow's wheels with CUDA; found {here}. "
        "Leave out GPU=1 to train on the CPU."
    ]


def disk_problems(root: Path, needed: int) -> list[str]:
    """Returns why an environment of so many bytes would not fit."""
    free = shutil.disk_usage(root).free
    if free >= needed:
        return []
    return [f"Disk: expected {needed / 1e9:.0f} GB free in {root}, found {free / 1e9:.1f} GB"]


def _how_to_get(package: str) -> str:
    names = {"g++": "gcc-c++", "python3-dev": "python3-devel", "python3-venv": "python3-pip"}
    if sys.platform == "darwin":
        return "Run: xcode-select --install"
    if shutil.which("apt-get"):
        return f"Run as root: apt-get install {package}"
    if shutil.which("dnf"):
        return f"Run as root: dnf install {names[package]}"
    return f"Install what your system calls {package}."
