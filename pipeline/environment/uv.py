"""uv, the installer: the one on the machine, or the locked one in a throw-away folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline.environment.errors import SetupError
from pipeline.environment.lockfile import hashed_requirements
from pipeline.environment.programs import output_of

OLDEST = (0, 5)  # knows every option used here
# Of the shell that types `make`; they would lead uv or Python to another environment.
FOREIGN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
UV_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")


class Uv:
    """uv, called with the package index that this machine is set up with."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        self._environment.setdefault("UV_COMPILE_BYTECODE_TIMEOUT", "900")
        self._environment.update(_index_of_pip(self._environment))

    def __call__(self, *arguments: str | Path, cwd: Path) -> None:
        """Runs `uv arguments...`; its progress goes to the terminal, its errors go there in any case.

        Raises:
            SetupError: uv failed.
        """
        quiet = [] if sys.stderr.isatty() else ["--quiet"]  # progress is for a person who watches
        done = subprocess.run(
            [self._program, *quiet, *arguments], cwd=cwd, env=self._environment, check=False
        )
        if done.returncode:
            raise SetupError(
                f"`uv {arguments[0]} {arguments[1]}` failed (see above). Check the network and the package index that "
                "pip or uv is set up with, then run `make setup` again: it starts over where needed."
            )


def uv_on_path(root: Path) -> Path | None:
    """Returns the uv on PATH where it is recent enough and not in `root/.venv`, which may be about to go."""
    found = shutil.which("uv")
    if found is None or root / ".venv" in Path(found).parents or not _recent(found):
        return None
    return Path(found)


def find_uv(lock: Path, workspace: Path) -> Uv:
    """Returns the uv on PATH, else the one that the lock names, installed into `workspace` with pip.

    Raises:
        SetupError: pip could not install it.
    """
    if on_path := uv_on_path(lock.parent):
        return Uv(on_path)
    folder, requirements = workspace / "uv", workspace / "uv.txt"
    output_of(
        sys.executable,
        "-m",
        "venv",
        folder,
        problem="Python could not make an environment with pip to get uv with.",
    )
    requirements.write_text(hashed_requirements(lock, "uv"), encoding="utf-8")
    pip = (
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--no-deps",
        "-r",
        requirements,
    )
    output_of(
        *pip, problem="pip could not install uv. Check the network and pip's index, then try again."
    )
    return Uv(folder / "bin" / "uv")


def _recent(program: str) -> bool:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    if done.returncode or len(words) < 2:
        return False
    return tuple(int(part) for part in words[1].split(".")[:2]) >= OLDEST


def _index_of_pip(environment: dict[str, str]) -> dict[str, str]:
    """Returns pip's index as uv's setting, which does not read pip's configuration; nothing where uv has its own."""
    own_files = [
        Path("/etc/uv/uv.toml"),
        Path(environment.get("XDG_CONFIG_HOME", "~/.config"), "uv/uv.toml").expanduser(),
    ]
    if any(name in environment for name in UV_INDEX_VARIABLES) or any(
        file.exists() for file in own_files
    ):
        return {}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    found = {key.rpartition(".")[2]: value.strip("'\"") for key, value in settings.items()}
    renamed = {
        "UV_DEFAULT_INDEX": environment.get("PIP_INDEX_URL") or found.get("index-url"),
        "SSL_CERT_FILE": environment.get("SSL_CERT_FILE")
        or environment.get("PIP_CERT")
        or found.get("cert"),
    }
    return {key: value for key, value in renamed.items() if value}
