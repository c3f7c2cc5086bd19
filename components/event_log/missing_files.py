"""Says why a path or pattern leads to no file of a log, and what is there instead."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from components.event_log.problems import Problem

_EXPECTED = (
    "Parquet (.parquet, .pq), CSV (.csv) or JSON lines (.jsonl, .ndjson), the latter two "
    "optionally with .gz, or JSON by a path or pattern that ends in .json"
)


def wrong_format(pattern: str, paths: Iterable[str]) -> Problem:
    """Returns the problem of a path or pattern that leads to no file of a known format.

    Args:
        pattern: the path or pattern.
        paths: what it leads to.
    """
    names = _list_names(paths)
    advice = "; is it a platform's log? data.format says of which" if ".log" in names else ""
    return Problem(subject=pattern, expected=_EXPECTED, found=f"{names or 'nothing'}{advice}")


def no_match(pattern: str, table: str, passed_over: str, hidden: list[str]) -> Problem:
    """Returns the problem of a path or pattern that leads to nothing.

    Args:
        pattern: the path or pattern.
        table: `events` or `outcomes`.
        passed_over: which files are passed over, in words.
        hidden: those that it leads to.
    """
    only_hidden = f"only files {passed_over}: {_list_names(hidden)}"
    found = only_hidden if hidden else _nearest_folder(pattern)
    return Problem(subject=pattern, expected=f"a file or folder of {table}", found=found)


def names_in(folder: str) -> list[str]:
    """Returns what is in a folder; nothing if it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _nearest_folder(pattern: str) -> str:
    """Describes how much of the path exists, and what is in its folder."""
    path = Path(pattern)
    folder = next((parent for parent in path.parents if os.path.isdir(parent)), path.parent)
    if folder != path.parent:
        return f"nothing: the folder {path.parent} does not exist"
    names = _list_names(names_in(str(folder)))
    return f"none; the folder holds {names}" if names else "none; the folder is empty"


def _list_names(paths: Iterable[str], shown: int = 8) -> str:
    names = sorted(os.path.basename(path.rstrip(os.sep)) for path in paths)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
