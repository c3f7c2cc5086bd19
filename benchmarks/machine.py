"""Says on which machine and day figures were measured, for the tables that benchmarks print."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def describe_machine() -> str:
    """Returns the processor, cores, memory, system and day, as one line of Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    )


def warn_if_busy() -> str:
    """Returns a warning for a machine that computes something else, else an empty text."""
    load = os.getloadavg()[0]
    return f"The machine is busy (load {load:.1f}): figures are too high.\n" if load > 1 else ""


def _processor() -> str:
    """Returns the model's name; the architecture where the system does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
