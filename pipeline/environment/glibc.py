"""A C library of the environment's own, where the system's is older than TFX's wheels need.

The interpreter in `.venv` is a copy that names the newer loader and libraries (patchelf), so every process that
starts from `sys.executable` has them, and nothing else on the system does.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipeline.environment import apt
from pipeline.environment.errors import SetupError
from pipeline.environment.programs import output_of

NEEDED = (
    2,
    38,
)  # tag and symbols of the ml-metadata and TFDV wheels; their libstdc++ comes with it
PACKAGES = ["libc6", "libstdc++6", "libgcc-s1"]
# Loaded first, by the interpreter itself: a wheel with a run path of its own would find the system's, and two
# versions of these do not go together.
LOADED_FIRST = (
    "libstdc++.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
)
# What a new interpreter has to be able to load: extension modules that link the system's own libraries.
PROBE = "import ctypes, os, sqlite3, ssl; print(os.confstr('CS_GNU_LIBC_VERSION'))"


def glibc_version() -> tuple[int, ...] | None:
    """Returns the version of the C library of this process, None where that is not glibc (macOS, musl)."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None
    return parse_version(text) if text else None


def parse_version(text: str) -> tuple[int, ...]:
    """Returns `(2, 36)` for `glibc 2.36`; what follows the numbers does not count."""
    numbers = text.split()[-1].split(".")
    return tuple(int(number) for number in numbers if number.isdigit())


def needs_own_glibc() -> bool:
    """Says whether this process's C library is too old for TFX's wheels."""
    version = glibc_version()
    return version is not None and version < NEEDED


def give_own_glibc(venv: Path, interpreter: Path, patchelf: Path, workspace: Path) -> str:
    """Unpacks a newer C library into `venv/glibc` and makes the environment's interpreter use it.

    Args:
        venv: an environment whose `bin` holds copies of the interpreter, no links.
        interpreter: the interpreter that was copied; its run path is kept.
        patchelf: the program of that name.
        workspace: an empty folder.

    Returns:
        The version and where it came from, e.g. `glibc 2.41 from trixie`.

    Raises:
        SetupError: there is nowhere to fetch it from, or the interpreter does not work with it.
    """
    release = apt.newer_release()
    if release is None:
        raise SetupError(
            f"TFX's wheels need glibc {_dotted(NEEDED)}, this system has {_dotted(glibc_version() or ())} and no apt "
            "to fetch a newer one with.\nBuild the Docker image instead (docker build -t mastery .), or use Debian 13, "
            "Ubuntu 24.04, macOS on Apple silicon, or newer."
        )
    apt.unpack_packages(release, PACKAGES, workspace / "root", workspace)
    libraries = _gather_libraries(workspace / "root", venv / "glibc")
    names = sorted((venv / "bin").glob("python*"))
    _patch(patchelf, interpreter, libraries, venv / "bin" / interpreter.name)
    for name in names:
        if name.name != interpreter.name:
            name.unlink()
            name.symlink_to(interpreter.name)
    return f"{_working_glibc(venv / 'bin' / 'python')} from {release}"


def _gather_libraries(root: Path, into: Path) -> Path:
    """Brings the libraries of unpacked packages (`usr/lib/x86_64-linux-gnu` and the like) into one folder."""
    for library in [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]:
        shutil.copytree(library, into, symlinks=True, dirs_exist_ok=True)
    return into


def _patch(patchelf: Path, interpreter: Path, libraries: Path, target: Path) -> None:
    loader = next(libraries.glob("ld-linux-*.so.*"))
    problem = f"patchelf could not read {interpreter} or change its copy. Choose another: make setup PYTHON=..."
    old = output_of(patchelf, "--print-rpath", interpreter, problem=problem).strip()
    old = old.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", str(interpreter.parent))
    new = target.with_name(f".{target.name}.new")
    shutil.copy2(interpreter, new)
    new.chmod(0o755)
    run_path = ":".join([str(libraries), *filter(None, [old])])
    names = [part for name in LOADED_FIRST for part in ("--add-needed", name)]
    output_of(
        patchelf,
        "--set-interpreter",
        loader,
        "--force-rpath",
        "--set-rpath",
        run_path,
        new,
        problem=problem,
    )
    output_of(patchelf, *names, new, problem=problem)
    new.replace(target)


def _working_glibc(python: Path) -> str:
    problem = (
        "The interpreter does not work with a newer C library. Choose another one (make setup PYTHON=...), "
        "or build the Docker image: docker build -t mastery ."
    )
    found = output_of(python, "-c", PROBE, problem=problem).strip()
    if parse_version(found) < NEEDED:
        raise SetupError(f"{problem}\nExpected glibc {_dotted(NEEDED)}, found {found}.")
    return found


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
