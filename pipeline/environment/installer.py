"""uv, the installer, and the lock files it installs from.

It is the uv on the machine, or the locked one in a temporary folder. A lock file pins every package
to a version and its hashes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.environment.machine import SetupError, output_of, uv_on_path

LOCK = "requirements.lock"
GPU_LOCK = "requirements-gpu.lock"  # CUDA's libraries, on top of the other
REQUIREMENT = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\]+))?"
)

# Variables of the shell that runs `make` that would lead uv or Python to another environment.
FOREIGN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
UV_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")


@dataclass(frozen=True)
class Pin:
    """One locked package.

    Attributes:
        name: as the package index spells it.
        version: the one to install.
        marker: the platforms and Pythons it is for; empty for all.
        lines: as in the file, hashes included: pip and uv take them as they are.
    """

    name: str
    version: str
    marker: str
    lines: tuple[str, ...]


def read_lock(lock: Path) -> list[Pin]:
    """Returns the pins of a lock file of `uv pip compile --generate-hashes`, in its order.

    Raises:
        ValueError: a line does not pin a package.
    """
    pins: list[Pin] = []
    block: list[str] = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        block.append(line)
        if not line.endswith("\\"):
            pins.append(_pin(block))
            block = []
    return pins


def hashed_requirements(lock: Path, *names: str) -> str:
    """Returns the text of a requirements file with only the named packages of the lock.

    Raises:
        KeyError: the lock has no such package.
    """
    pins = {pin.name: pin for pin in read_lock(lock)}
    return "".join(f"{line}\n" for name in names for line in pins[name].lines)


def _pin(block: list[str]) -> Pin:
    match = REQUIREMENT.match(block[0])
    if match is None:
        raise ValueError(f"expected `name==version`, found {block[0]!r}")
    return Pin(match["name"], match["version"], (match["marker"] or "").strip(), tuple(block))


class Uv:
    """uv, called with the package index that this machine is set up with."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        self._environment.setdefault("UV_COMPILE_BYTECODE_TIMEOUT", "900")
        self._environment.update(index_of_pip(self._environment))

    def __call__(self, *arguments: str | Path, cwd: Path) -> None:
        """Runs `uv arguments...`; prints its errors, and its progress on a terminal.

        Raises:
            SetupError: uv failed.
        """
        quiet = [] if sys.stderr.isatty() else ["--quiet"]
        done = subprocess.run(
            [self._program, *quiet, *arguments], cwd=cwd, env=self._environment, check=False
        )
        if done.returncode:
            raise SetupError(
                f"`uv {arguments[0]} {arguments[1]}` failed (see above). Check the network and the "
                "package index that pip or uv is set up with, then run `make setup` again: it "
                "starts over where needed."
            )


def find_uv(lock: Path, workspace: Path) -> Uv:
    """Returns the uv on PATH, else the one that the lock names, installed into `workspace`.

    Raises:
        SetupError: pip could not install it.
    """
    if on_path := uv_on_path(lock.parent):
        return Uv(on_path)

    folder = workspace / "uv"
    problem = "Python could not make an environment with pip to get uv with."
    output_of(sys.executable, "-m", "venv", folder, problem=problem)

    requirements = workspace / "uv.txt"
    requirements.write_text(hashed_requirements(lock, "uv"), encoding="utf-8")
    pip = (folder / "bin" / "python", "-m", "pip")
    options = ("--require-hashes", "--no-deps", "-r", requirements)
    problem = "pip could not install uv. Check the network and pip's index, then try again."
    output_of(*pip, "install", *options, problem=problem)
    return Uv(folder / "bin" / "uv")


def index_of_pip(environment: dict[str, str]) -> dict[str, str]:
    """Returns pip's index and certificates as uv's settings; uv does not read pip's configuration.

    Args:
        environment: the variables that uv is going to see.

    Returns:
        Variables for uv; none where uv has an index of its own.
    """
    config_home = Path(environment.get("XDG_CONFIG_HOME", "~/.config"))
    own_files = [Path("/etc/uv/uv.toml"), (config_home / "uv" / "uv.toml").expanduser()]
    has_variable = any(name in environment for name in UV_INDEX_VARIABLES)
    if has_variable or any(file.exists() for file in own_files):
        return {}

    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    found = {key.rpartition(".")[2]: value.strip("'\"") for key, value in settings.items()}

    index = environment.get("PIP_INDEX_URL") or found.get("index-url")
    certificates = environment.get("SSL_CERT_FILE") or environment.get("PIP_CERT")
    renamed = {
        "UV_DEFAULT_INDEX": index,
        "SSL_CERT_FILE": certificates or found.get("cert"),
    }
    return {key: value for key, value in renamed.items() if value}
