"""A C library of the environment's own, where the system's is older than TFX's wheels need.

The interpreter in `.venv` is a copy that names the newer loader and libraries (patchelf), so every
process that starts from `sys.executable` has them, and nothing else on the system does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.environment import apt
from pipeline.environment.machine import (
    GLIBC,
    SetupError,
    dotted,
    glibc_version,
    output_of,
    parse_version,
)

PACKAGES = ["libc6", "libstdc++6", "libgcc-s1"]
# Loaded first, by the interpreter itself: a wheel with a run path of its own would find the
# system's, and two versions of these do not go together.
LOADED_FIRST = (
    "libstdc++.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
)
# The interpreter must be able to load extension modules that link the system's own libraries.
PROBE = "import ctypes, os, sqlite3, ssl; print(os.confstr('CS_GNU_LIBC_VERSION'))"


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
        SetupError: it cannot be fetched, or the interpreter does not work with it.
    """
    release = apt.newer_release()
    if release is None:
        here = dotted(glibc_version() or ())
        raise SetupError(
            f"TFX's wheels need glibc {dotted(GLIBC)}, this system has {here} and no apt to fetch "
            "a newer one with.\nBuild the Docker image instead (docker build -t mastery .), or use "
            "Debian 13, Ubuntu 24.04, macOS on Apple silicon, or newer."
        )

    apt.unpack_packages(release, PACKAGES, workspace / "root", workspace)
    libraries = _gather_libraries(workspace / "root", venv / "glibc")
    copies = sorted((venv / "bin").glob("python*"))
    _patch(patchelf, interpreter, libraries, venv / "bin" / interpreter.name)
    for copy in copies:
        if copy.name != interpreter.name:
            copy.unlink()
            copy.symlink_to(interpreter.name)
    return f"{_working_glibc(venv / 'bin' / 'python')} from {release}"


def _gather_libraries(root: Path, into: Path) -> Path:
    """Copies the libraries of unpacked packages (`usr/lib/*-linux-gnu`) into one folder."""
    for library in [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]:
        shutil.copytree(library, into, symlinks=True, dirs_exist_ok=True)
    return into


def _patch(patchelf: Path, interpreter: Path, libraries: Path, target: Path) -> None:
    """Writes a copy of the interpreter that loads the new C library and keeps its own run path."""
    problem = (
        f"patchelf could not read {interpreter} or change its copy. "
        "Choose another: make setup PYTHON=..."
    )
    old = output_of(patchelf, "--print-rpath", interpreter, problem=problem).strip()
    old = old.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", str(interpreter.parent))

    new = target.with_name(f".{target.name}.new")
    shutil.copy2(interpreter, new)
    new.chmod(0o755)
    loader = next(libraries.glob("ld-linux-*.so.*"))
    run_path = ":".join([str(libraries), *filter(None, [old])])
    changes = ("--set-interpreter", loader, "--force-rpath", "--set-rpath", run_path)
    output_of(patchelf, *changes, new, problem=problem)
    names = [part for name in LOADED_FIRST for part in ("--add-needed", name)]
    output_of(patchelf, *names, new, problem=problem)
    new.replace(target)


def _working_glibc(python: Path) -> str:
    problem = (
        "The interpreter does not work with a newer C library. Choose another one "
        "(make setup PYTHON=...), or build the Docker image: docker build -t mastery ."
    )
    found = output_of(python, "-c", PROBE, problem=problem).strip()
    if parse_version(found) < GLIBC:
        raise SetupError(f"{problem}\nExpected glibc {dotted(GLIBC)}, found {found}.")
    return found
