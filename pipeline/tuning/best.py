"""Writes the best values as a change of the given file: `best.diff`, and `best.yaml` to run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.config import load_config
from components.config.edited_yaml import edit_yaml
from components.config.load import absolute_paths
from components.config.strict_yaml import YamlError, read_text
from components.errors import ConfigError
from components.files.atomic import write_text
from pipeline.tuning.space import settings_of

YAML, DIFF = "best.yaml", "best.diff"


def write_best(
    config: Path, overrides: Iterable[str], values: Mapping[str, Any], folder: Path
) -> None:
    """Writes the best values into copies of the configuration's text, comments included.

    Args:
        config: the given file.
        overrides: the options that it was loaded with, which are not written.
        values: the best values by key; empty where the given ones are best.
        folder: gets `best.diff`, empty without a change, and `best.yaml`, whose paths are absolute
            because it is in another folder.

    Raises:
        ConfigError: the values cannot be written into this file, because of aliases for example.
    """
    overrides = [*overrides]
    text = read_text(config)
    tried = load_config(config, [*overrides, *settings_of(values)])
    try:
        best = edit_yaml(text, {tuple(key.split(".")): value for key, value in values.items()})
        write_text(folder / YAML, edit_yaml(best, absolute_paths(config)))
        is_same = load_config(folder / YAML, overrides) == tried
    except (YamlError, ConfigError, KeyError):
        is_same = False
    if not is_same:
        for name in (YAML, DIFF):
            (folder / name).unlink(missing_ok=True)
        raise ConfigError(
            f"{config}: expected a file into which the best values can be written, found aliases "
            f"or merged keys in their place; write them yourself: {', '.join(settings_of(values))}."
        )
    write_text(folder / DIFF, unified_diff(text, best, config.name))


def unified_diff(before: str, after: str, name: str) -> str:
    r"""Returns the change of a file as `patch` takes it.

    >>> print(unified_diff("epochs: 30", "epochs: 5", "a.yaml"), end="")
    --- a.yaml
    +++ a.yaml
    @@ -1 +1 @@
    -epochs: 30
    \ No newline at end of file
    +epochs: 5
    \ No newline at end of file
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(old, new, name, name)
    )
