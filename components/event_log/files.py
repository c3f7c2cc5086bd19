"""Finding the files of a log."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.event_log.problems import Problem

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".csv.gz": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonl.gz": "jsonl", ".ndjson.gz": "jsonl",
}  # fmt: skip
_EXPECTED = "Parquet (.parquet, .pq), CSV (.csv) or JSON lines (.jsonl, .ndjson), the latter two maybe with .gz"


@dataclass(frozen=True)
class LogFile:
    """A file of a table of the log.

    Attributes:
        path: where it is.
        format: `parquet`, `csv` or `jsonl`.
        index: its number among the files of its table; sets the order of events at the same time.
    """

    path: str
    format: str
    index: int

    @property
    def unit(self) -> str:
        """What an error message counts in this file: rows, or lines."""
        return "row" if self.format == "parquet" else "line"


def find_files(table: str, patterns: Sequence[str]) -> tuple[list[LogFile], list[Problem]]:
    """Finds the files behind paths, folders and glob patterns.

    Folders are searched at any depth; hidden files, those whose name starts with `_` (markers such as `_SUCCESS`)
    and other formats are passed over, unless named outright.

    Args:
        table: `events` or `outcomes`, for messages.
        patterns: without `{SPAN}` and the like; see `spans.choose_spans`.

    Returns:
        The files, pattern by pattern, each pattern's in order of name, none twice; and what is wrong.
    """
    paths: dict[str, str] = {}
    problems: list[Problem] = []
    for pattern in patterns:
        found, problem = _expand(table, pattern)
        paths.update((path, kind) for path in found if (kind := format_of(path)))
        problems += [problem] if problem else []
    files = [LogFile(path, kind, index) for index, (path, kind) in enumerate(paths.items())]
    return files, problems


def format_of(path: str) -> str | None:
    """Returns the format that a file's name promises, None for no known one."""
    name = Path(path).name.lower()
    return next((kind for suffix, kind in FORMATS.items() if name.endswith(suffix)), None)


def _expand(table: str, pattern: str) -> tuple[list[str], Problem | None]:
    if "://" in pattern:
        advice = "a path; mount the bucket as a folder, or copy the log"
        return [], Problem(subject=f"data.{table}", expected=advice, found=repr(pattern))
    path = Path(pattern)
    if path.is_dir():
        files = _of_a_log(item for item in path.rglob("*") if item.is_file())
        return files, None if files else _none_in(pattern, _names(path.iterdir()))
    if path.is_file():
        return [pattern], None if format_of(pattern) else _none_in(pattern, path.name)
    matches = [Path(item) for item in glob.glob(pattern, recursive=True)]  # noqa: PTH207 (absolute patterns)
    files = _of_a_log(item for item in matches if item.is_file())
    if files:
        return files, None
    if matches:
        return [], _none_in(pattern, _names(matches))
    return [], Problem(subject=pattern, expected=f"a file or folder of {table}", found=_nearest_folder(path))


def _of_a_log(paths: Iterable[Path]) -> list[str]:
    return sorted(str(path) for path in paths if not path.name.startswith(("_", ".")) and format_of(str(path)))


def _none_in(pattern: str, names: str) -> Problem:
    return Problem(subject=pattern, expected=_EXPECTED, found=names)


def _nearest_folder(path: Path) -> str:
    """Says how far down the path exists, and what is there instead."""
    folder = next((parent for parent in path.parents if parent.is_dir()), None)
    if folder is None:
        return "nothing"
    if folder != path.parent:
        return f"nothing: the folder {path.parent} does not exist"
    return f"no such file; the folder has {_names(folder.iterdir())}"


def _names(paths: Iterable[Path], shown: int = 8) -> str:
    names = sorted(path.name for path in paths)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (", ".join(names[:shown]) + more) or "nothing"
