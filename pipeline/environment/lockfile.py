"""Reading lock files: which version of what, and the lines that pin one package by hash."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LOCK = "requirements.lock"
GPU_LOCK = "requirements-gpu.lock"  # CUDA's libraries, on top of the other

REQUIREMENT = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\]+))?"
)


@dataclass(frozen=True)
class Pin:
    """One locked package."""

    name: str
    version: str
    marker: str  # "" where the package is for every platform and Python
    lines: tuple[str, ...]  # as in the file, hashes included: pip and uv take them as they are


def read_lock(lock: Path) -> list[Pin]:
    """Returns the pins of a lock file that `uv pip compile --generate-hashes` wrote, in its order."""
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
