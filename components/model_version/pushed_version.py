"""What a pushed version says of itself, for whoever wants to try it on another log."""

from __future__ import annotations

import json
from pathlib import Path

from components.config import Config
from components.config.data import NEWEST
from components.config.load import absolute_pattern
from components.errors import MasteryError
from components.model_version.folders import MANIFEST
from components.model_version.verify import verify_version


def config_for_log(model: Path, events: list[str], outcomes: list[str], *, name: str) -> Config:
    """Returns the configuration that a version was made with, on another log.

    The version itself says how its log is read: its `manifest.json` holds the configuration.

    Args:
        model: a pushed version's folder.
        events: files, folders or patterns of the other log.
        outcomes: the same for its outcomes, with labels.
        name: what the user called the version, for the error.

    Raises:
        MasteryError: the folder holds no model of ours.
        VersionError: its files are not those that were pushed.
    """
    config = config_of(model, name=name)
    verify_version(model.resolve(), within=model.resolve().parent)
    tables = {"events": events, "outcomes": outcomes}
    paths = {
        table: [absolute_pattern(path, Path.cwd()) for path in given]
        for table, given in tables.items()
    }
    given = {**paths, "span": NEWEST, "sample_learners": None}
    return config.model_copy(update={"data": config.data.model_copy(update=given)})


def config_of(model: Path, *, name: str) -> Config:
    """Returns the configuration that a version was made with, from its manifest.

    Args:
        model: a pushed version's folder.
        name: what the user called the version, for the error.

    Raises:
        MasteryError: the folder holds no model of ours.
    """
    file = model / MANIFEST
    try:
        return Config.model_validate(json.loads(file.read_text(encoding="utf-8"))["config"])
    except (OSError, KeyError, ValueError) as error:
        raise MasteryError(
            f"{name}: expected a pushed version such as runs/NAME/serving/1234567890, "
            f"found no readable {file.name} in it ({type(error).__name__})."
        ) from None
