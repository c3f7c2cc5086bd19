"""The machine that the environment is made on: what it must have, and running its programs.

Everything is checked before anything is downloaded.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PYTHONS = ((3, 11), (3, 13))  # first and last minor version
PLATFORMS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}
GLIBC = (2, 38)  # of the tag and symbols of the ml-metadata and TFDV wheels
OLDEST_UV = (0, 5)  # knows every option used here
DISK_BYTES = 5 * 10**9  # the environment and uv's cache of it
GPU_DISK_BYTES = 8 * 10**9  # more, for CUDA's libraries


class SetupError(Exception):
    """The environment cannot be made; the text says why, and what to do."""


def output_of(*command: str | Path, problem: str, cwd: Path | None = None) -> str:
    """Runs a program and returns what it printed.

    Args:
        command: the program and its arguments.
        problem: the text of the error if it fails; the program's own words follow it.
        cwd: the folder to run it in.

    Raises:
        SetupError: the program failed.
    """
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{problem}\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def check_machine(root: Path, *, gpu: bool = False) -> None:
    """Checks that the machine has everything the set-up needs.

    Args:
        root: where the environment goes.
        gpu: whether CUDA's libraries are part of it.

    Raises:
        SetupError: something is missing; all of it is listed.
    """
    needed = DISK_BYTES + (GPU_DISK_BYTES if gpu else 0)
    problems = [
        *python_problems(),
        *platform_problems(),
        *(gpu_problems() if gpu else ()),
        *disk_problems(root, needed),
        *compiler_problems(),
        *installer_problems(root),
    ]
    if problems:
        raise SetupError("\n".join(problems))


def python_problems() -> list[str]:
    """Returns what is wrong with the running Python's version."""
    first, last = PYTHONS
    if first <= sys.version_info[:2] <= last:
        return []
    return [
        f"Python: expected 3.{first[1]} to 3.{last[1]}, found {platform.python_version()} "
        f"({sys.executable}). Name another one: make setup PYTHON=python3.12"
    ]


def platform_problems() -> list[str]:
    """Returns why TensorFlow's wheels do not exist for this platform."""
    here = f"{platform.system()} on {platform.machine()}"
    expected = "expected Linux on x86_64 or aarch64, or macOS on Apple silicon"
    if (sys.platform, platform.machine()) not in PLATFORMS:
        return [f"Platform: {expected}; found {here}. Use Docker there: docker build -t mastery ."]
    if sys.platform == "linux" and glibc_version() is None:
        return [
            f"Platform: {expected}, with glibc; found {here} with another C library (musl?). "
            "Use Docker there: docker build -t mastery ."
        ]
    return []


def gpu_problems() -> list[str]:
    """Returns why TensorFlow has no CUDA for this platform."""
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        return []
    return [
        "GPU: expected Linux on x86_64, the platform of TensorFlow's wheels with CUDA; "
        f"found {platform.system()} on {platform.machine()}. Leave out GPU=1 to train on the CPU."
    ]


def disk_problems(root: Path, needed: int) -> list[str]:
    """Returns why an environment of `needed` bytes would not fit."""
    free = shutil.disk_usage(root).free
    if free >= needed:
        return []
    return [f"Disk: expected {needed / 1e9:.0f} GB free in {root}, found {free / 1e9:.1f} GB."]


def compiler_problems() -> list[str]:
    """Returns what is missing to build `pyfarmhash`, which TFDV needs and which has no wheels."""
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
    """Returns why nothing can be installed: there is neither uv nor pip to get it with."""
    if uv_on_path(root) or importlib.util.find_spec("ensurepip"):
        return []
    return [
        "Installer: expected `uv` on PATH or pip's `ensurepip`, found neither. "
        + _how_to_get("python3-venv")
    ]


def uv_on_path(root: Path) -> Path | None:
    """Returns the uv on PATH if it is recent and not in `root/.venv`, which may be about to go."""
    found = shutil.which("uv")
    if found is None or root / ".venv" in Path(found).parents or not is_recent_uv(found):
        return None
    return Path(found)


def is_recent_uv(program: str) -> bool:
    """Returns whether a program is a uv that knows every option used here."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    if done.returncode or len(words) < 2:
        return False
    return tuple(int(part) for part in words[1].split(".")[:2]) >= OLDEST_UV


def glibc_version() -> tuple[int, ...] | None:
    """Returns the version of this process's C library, None if that is not glibc (macOS, musl)."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None
    return parse_version(text) if text else None


def parse_version(text: str) -> tuple[int, ...]:
    """Returns the numbers of a version, without the words around them.

    >>> parse_version("glibc 2.36")
    (2, 36)
    """
    numbers = text.split()[-1].split(".")
    return tuple(int(number) for number in numbers if number.isdigit())


def dotted(version: tuple[int, ...]) -> str:
    """Returns the text of a version.

    >>> dotted((2, 36))
    '2.36'
    """
    return ".".join(map(str, version))


def needs_own_glibc() -> bool:
    """Returns whether this process's C library is too old for TFX's wheels."""
    version = glibc_version()
    return version is not None and version < GLIBC


def _how_to_get(package: str) -> str:
    if sys.platform == "darwin":
        return "Run: xcode-select --install"
    if shutil.which("apt-get"):
        return f"Run as root: apt-get install {package}"
    if shutil.which("dnf"):
        names = {"g++": "gcc-c++", "python3-dev": "python3-devel", "python3-venv": "python3-pip"}
        return f"Run as root: dnf install {names[package]}"
    return f"Install what your system calls {package}."
