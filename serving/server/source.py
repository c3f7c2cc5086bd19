"""What is to be served, and under which name."""

from __future__ import annotations

import json
from pathlib import Path

from components.model_version.exports import GPU
from components.model_version.folders import MANIFEST, VersionFolders, find_versions


def served_folders(folder: Path) -> VersionFolders:
    """Returns the versions in a model's folder, and why other folders there are none.

    Raises:
        OSError: the folder cannot be read.
    """
    return find_versions(folder, other_uses=(GPU,))


def model_name(folder: Path) -> str:
    """Returns the name that the newest manifest has for the model; without one, the folder's own name."""
    for path in reversed(served_folders(folder).paths.values()):
        try:
            name = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["name"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(name, str) and name:
            return name
    return folder.resolve().name
