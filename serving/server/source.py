"""What is to be served, and under which name."""

from __future__ import annotations

import json
import re
from pathlib import Path

from components.pusher.push import MANIFEST, SAVED_MODEL

_VERSION = re.compile(r"0|[1-9][0-9]{0,17}")  # what fits 64 bits and is written in one way only


def present_versions(folder: Path) -> list[int]:
    """Returns the versions that can be loaded, oldest first; none where there is no such folder."""
    if not folder.is_dir():
        return []
    names = [item.name for item in folder.iterdir() if _VERSION.fullmatch(item.name)]
    return sorted(int(name) for name in names if (folder / name / SAVED_MODEL).is_file())


def model_name(folder: Path) -> str:
    """Returns the name that the newest manifest has for the model; without one, the folder's own name."""
    for version in reversed(present_versions(folder)):
        try:
            name = json.loads((folder / str(version) / MANIFEST).read_text(encoding="utf-8"))["name"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(name, str) and name:
            return name
    return folder.resolve().name
