"""Programs that stand in for real ones in tests."""

from __future__ import annotations

from pathlib import Path


def program(path: Path, script: str) -> Path:
    """Writes a shell script that can be called like a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
