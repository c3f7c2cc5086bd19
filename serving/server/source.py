"""What is to be served, and under which name."""

from __future__ import annotations

import json
from pathlib import Path

MANIFEST = "manifest.json"


def model_name(folder: Path) -> str:
    """Returns the name that the newest version's manifest has for the model; without one, the folder's own."""
    versions = sorted(
        (item for item in folder.glob("[0-9]*") if item.name.isdecimal()), key=lambda item: int(item.name)
    )
    for version in reversed(versions):
        try:
            name = json.loads((version / MANIFEST).read_text(encoding="utf-8"))["name"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(name, str) and name:
            return name
    return folder.resolve().name
