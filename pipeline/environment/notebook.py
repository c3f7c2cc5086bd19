"""Adds JupyterLab to the environment of an image: `python3 -m pipeline.environment.notebook`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pipeline.environment.installer import LOCK, find_uv
from pipeline.environment.machine import SetupError
from pipeline.environment.setup import ROOT


def main() -> int:
    """Installs the extra `notebook`, by hash, into `.venv`."""
    lock = ROOT / LOCK
    checked = ("--require-hashes", "--build-constraints", lock, "--compile-bytecode")
    wanted = ("--constraints", lock, "-r", "pyproject.toml", "--extra", "notebook")
    try:
        with tempfile.TemporaryDirectory(prefix="mastery-setup-") as folder:
            uv = find_uv(lock, Path(folder))
            python = ROOT / ".venv" / "bin" / "python"
            uv("pip", "install", "--python", python, *checked, *wanted, cwd=ROOT)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
