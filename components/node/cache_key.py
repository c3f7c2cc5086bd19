"""Fingerprints of our own code, because TFX's cache key does not see a function's source."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = {".py", ".html", ".css"}  # the report's templates are code too


@functools.cache
def code_fingerprint(*packages: str) -> str:
    """Returns a short digest of the sources of folders or modules below `components`.

    Args:
        packages: names such as `"trainer"` or `"naming"`; a folder counts with all it holds.

    Raises:
        FileNotFoundError: a name is neither a folder nor a module.
    """
    digest = hashlib.sha256()
    for package in sorted(packages):
        folder, module = ROOT / package, ROOT / f"{package}.py"
        found = (file for file in folder.rglob("*") if file.suffix in SOURCES)
        files = sorted(found) if folder.is_dir() else [module]
        for file in files:
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0")
            digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
