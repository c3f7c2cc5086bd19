"""The model to compare with: one that was named, and whether it can be compared with what is configured now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.errors import MasteryError
from components.evaluator.settings import Settings
from components.model_version.exports import CARD
from components.model_version.verify import model_digest


def digest_baseline(folder: str | None) -> str:
    """Returns the digest of a model that was named as baseline, so that another one at its path is seen; "" for none.

    Raises:
        MasteryError: the folder holds no model.
    """
    if folder is None:
        return ""
    if not Path(folder, "saved_model.pb").is_file():
        raise MasteryError(
            f"evaluation.baseline: expected a pushed version such as runs/NAME/serving/1234567890, "
            f"found no saved_model.pb in {folder}."
        )
    return model_digest(Path(folder))


def why_not_comparable(model: Path, settings: Settings) -> str | None:
    """Returns why a blessed model cannot be the baseline of these examples, or None if it can.

    A model of other classes has other metrics; one that reads columns the examples no longer have would be judged
    by answers that it never gave. A model without a card is taken on trust.
    """
    card = model / CARD
    if not card.exists():
        return None
    content: dict[str, Any] = json.loads(card.read_bytes())
    config = content["config"]
    label = {key: config["label"][key] for key in ("column", "task")} | {
        "classes": sorted(config["label"]["classes"])
    }
    wanted = settings.label.model_dump() | {"classes": sorted(settings.label.classes)}
    for key, value in wanted.items():
        if label[key] != value:
            return f"the blessed model was made for another label: expected {key} {value}, found {label[key]}"
    inputs = {*config["steps"]["features"], *config["context"], *config["prior"]["group_by"]}
    gone = sorted(inputs - settings.input_columns)
    return (
        f"the blessed model reads columns that are no longer inputs: {', '.join(gone)}"
        if gone
        else None
    )
