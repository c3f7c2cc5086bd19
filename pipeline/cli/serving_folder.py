"""Finds the serving folder that a command's options name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.models.storage import Storage


def open_serving_folder(
    models: str | None, config: Path | None, set_: list[str], root: Path
) -> Storage:
    """Returns the folder or place in an object store that versions are pushed to.

    Args:
        models: its path or URL, if that is named.
        config: else the configuration, which says where `mastery run` pushes to.
        set_: what overrides values of it.
        root: where runs keep everything.

    Raises:
        MasteryError: neither is given, or there is no such folder.
        ConfigError: the configuration cannot be used.
    """
    from components.errors import MasteryError
    from serving.models.stores import open_storage

    if models is None:
        if config is None:
            raise MasteryError("expected --config FILE or --models DIR_OR_URL, found neither.")
        models = pushed_to(config, set_, root)
    return open_storage(models)


def pushed_to(config: Path, set_: list[str], root: Path) -> str:
    """Returns the folder or URL that `mastery run` with this configuration pushes to.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    from components.config import load_config
    from pipeline.layout import Layout

    loaded = load_config(config, set_)
    directory = loaded.push.directory
    remote = directory is not None and "://" in directory
    return str(directory if remote else Layout(root.resolve(), loaded.name).serving(loaded))
