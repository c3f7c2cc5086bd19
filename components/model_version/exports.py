"""The exports of one model: a portable SavedModel, and maybe one for GPUs inside of its folder."""

from __future__ import annotations

import json
from pathlib import Path

CARD = (
    "assets.extra/mastery.json"  # says how a model is fed, what made it and which exports there are
)
PORTABLE = "portable"  # runs on any machine
GPU = "gpu"  # holds operations that run on a GPU only; also the name of its folder


def exports(model: Path) -> dict[str, str]:
    """Returns the exports of a model, by name, as folders below `model`; a model that says nothing has the one.

    Args:
        model: the portable export's folder, or a pushed version's.
    """
    found: dict[str, str] = json.loads((model / CARD).read_text(encoding="utf-8")).get(
        "exports", {PORTABLE: "."}
    )
    return found
