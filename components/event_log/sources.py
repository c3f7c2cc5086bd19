"""Finding the files of a log: every real file once, and what is passed over is counted.

Files and folders whose name starts with `.` or `_` are never part of a log: markers (`_SUCCESS`),
checksums (`.part-0.csv.crc`), what a writer has not finished (`_temporary`) or an editor keeps
(`.ipynb_checkpoints`). Links are followed, and a file that is reached under two names is read once.
What is passed over is counted by reason.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from components.event_log.problems import Problem, printable, raise_if_any

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".csv.gz": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonl.gz": "jsonl", ".ndjson.gz": "jsonl",
}  # fmt: skip
HIDDEN = (".", "_")

_EXPECTED = "Parquet (.parquet, .pq), CSV (.csv) or JSON lines (.jsonl, .ndjson), the latter two maybe with .gz"
_ESCAPED = re.compile(r"\[([*?[])\]")  # what glob.escape makes of a special character
_PARTITION = re.compile(r"([^=]+)=(.*)", re.DOTALL)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class Reason(StrEnum):
    """Why something that was found is not read."""

    HIDDEN = "hidden or starting with _"
    AGAIN = "read already under another name"
    FORMAT = "of another format"
    EMPTY = "empty (0 bytes)"
    DANGLING = "links to nothing"
    SPECIAL = "neither file nor folder, but a pipe or the like"


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

    @property
    def partition(self) -> dict[str, str | None]:
        """Columns that the folders of the path hold, as Hive and Spark write them.

        >>> LogFile("log/unit_id=algebra%201/part-0.csv", "csv", 0).partition
        {'unit_id': 'algebra 1'}
        """
        matches = (_PARTITION.fullmatch(part) for part in Path(self.path).parts[:-1])
        pairs = ((unquote(match[1]), unquote(match[2])) for match in matches if match)
        return {name: None if value == _NO_VALUE else value for name, value in pairs}


@dataclass
class Listing:
    """The files of a table.

    Attributes:
        files: pattern by pattern, each pattern's in order of name, none twice.
        problems: what is wrong.
        passed_over: what was found and is not read, by reason.
    """

    files: list[LogFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    passed_over: dict[Reason, list[str]] = field(default_factory=dict)

    def describe_passed_over(self, shown: int = 2) -> str:
        """Returns one line: how much was passed over and why, with examples; empty for nothing."""
        reasons = []
        for reason in Reason:
            if paths := self.passed_over.get(reason):
                more = ", ..." if len(paths) > shown else ""
                names = ", ".join(
                    printable("/".join(path.split("/")[-3:])) for path in paths[:shown]
                )
                reasons.append(f"{len(paths):,} {reason} ({names}{more})")
        return ", ".join(reasons)


def find_files(table: str, patterns: Sequence[str]) -> Listing:
    """Finds the files behind paths, folders and glob patterns.

    Folders, those that a pattern matches too, are searched at any depth. Names that start with `.`
    or `_` count only where the path or pattern itself spells them out.

    Args:
        table: `events` or `outcomes`, for messages.
        patterns: without `{SPAN}` and the like; see `spans.choose_spans`.
    """
    search = _Search()
    paths: dict[str, str] = {}
    problems: list[Problem] = []
    for pattern in patterns:
        matches, problem = _find(search, table, pattern)
        problems += [problem] if problem else []
        paths.update(search.choose(matches))
    problems += search.problems

    listing = Listing(problems=problems, passed_over=search.passed_over)
    listing.files = [LogFile(path, kind, index) for index, (path, kind) in enumerate(paths.items())]
    if not paths and not problems:
        only = f"only {listing.describe_passed_over()}"
        problems.append(
            Problem(subject=f"data.{table}", expected="at least one file with rows", found=only)
        )
    return listing


def expand_pattern(pattern: str) -> list[str]:
    """Returns what a pattern matches by the rules of `find_files`, in order of name.

    Raises:
        LogError: a folder on the way cannot be read.
    """
    search = _Search()
    paths = sorted({match.path for match in search.match(pattern)})
    raise_if_any(search.problems)
    return paths


def format_of(path: str) -> str | None:
    """Returns the format that a file's name promises, None for no known one."""
    name = os.path.basename(path).lower()
    return next((kind for suffix, kind in FORMATS.items() if name.endswith(suffix)), None)


@dataclass(frozen=True)
class _Match:
    """A path that was found, and how many links led to it: the fewer, the better the name."""

    path: str
    links: int = 0


class _Search:
    """Goes through folders; keeps what it passed over and what it could not read."""

    def __init__(self) -> None:
        self.passed_over: dict[Reason, list[str]] = {}
        self.problems: list[Problem] = []
        self._known: dict[tuple[int, ...], str] = {}  # the path by which each real file is read
        self._counted: set[tuple[Reason, str]] = set()  # patterns that overlap find a path twice

    def match(self, pattern: str) -> Iterator[_Match]:
        """Yields what a pattern matches, files and folders."""
        path = Path(pattern)
        yield from self._match(
            _Match(path.anchor or "."), [part for part in path.parts if part != path.anchor]
        )

    def files_below(self, folder: _Match) -> Iterator[_Match]:
        """Yields everything at and below a folder that is no folder itself."""
        for below, entries in self._folders(folder):
            for entry in entries:
                if not _is_folder(entry) and not self._is_hidden(entry):
                    yield _Match(str(Path(entry.path)), below.links + entry.is_symlink())

    def choose(self, found: Iterable[_Match]) -> dict[str, str]:
        """Returns the paths that are read, with their formats: every real file once, by name.

        Of several names of a file the one behind the fewest links is taken. Files that other
        patterns have found before are left out.
        """
        chosen = {}
        links = {match.path: match.links for match in found}
        for path in sorted(links, key=lambda path: (links[path], path)):
            if kind := self._judge(path):
                chosen[path] = kind
        return dict(sorted(chosen.items()))

    def _judge(self, path: str) -> str | None:
        """Returns the format of a file to read; else counts it, or notes what is wrong with it."""
        kind = format_of(path)
        try:
            status = os.stat(path)
        except OSError as error:
            if kind:
                found = "a link to nothing" if os.path.islink(path) else error.strerror
                self.problems.append(
                    Problem(subject=path, expected="a file that can be read", found=found or "none")
                )
            else:
                self._pass_over(Reason.DANGLING, path)
            return None

        if not stat.S_ISREG(status.st_mode):
            self._pass_over(Reason.SPECIAL, path)
        elif not kind:
            self._pass_over(Reason.FORMAT, path)
        elif status.st_size == 0 and kind != "parquet":
            self._pass_over(Reason.EMPTY, path)
        # Some network file systems number files anew as they go: size and time have to be the same
        # as well.
        elif (first := self._known.setdefault(_identity(status, path), path)) != path:
            self._pass_over(Reason.AGAIN, path)
        elif not _is_utf8(first):
            expected = "a file name in UTF-8 (rename the file, or the folder it is in)"
            self.problems.append(
                Problem(subject=path, expected=expected, found=repr(os.fsencode(path)))
            )
        else:
            return kind
        return None

    def _match(self, start: _Match, parts: Sequence[str]) -> Iterator[_Match]:
        if not parts:
            yield start
            return
        part, rest = parts[0], parts[1:]

        if part == "**":
            if not rest:
                yield start
            for folder, _ in self._folders(start) if rest else ():
                yield from self._match(folder, rest)
        elif glob.has_magic(part):
            for entry in self._entries(start.path):
                if not fnmatchcase(entry.name, part) or (rest and not _is_folder(entry)):
                    continue
                if entry.name[0] == part[0] or not self._is_hidden(entry):
                    found = _Match(str(Path(entry.path)), start.links + entry.is_symlink())
                    yield from self._match(found, rest)
        else:
            path = str(Path(start.path, part))
            if os.path.lexists(path):
                yield from self._match(_Match(path, start.links + os.path.islink(path)), rest)

    def _folders(self, top: _Match) -> Iterator[tuple[_Match, list[os.DirEntry[str]]]]:
        """Yields a folder and all below it with their entries, each real folder once, links last."""
        seen: set[tuple[int, int]] = set()
        folders, links = deque([top]), deque[_Match]()
        while folders or links:
            folder = folders.popleft() if folders else links.popleft()
            try:
                status = os.stat(folder.path)
            except OSError as error:
                self._note(folder.path, error)
                continue
            if (status.st_dev, status.st_ino) in seen:
                self._pass_over(Reason.AGAIN, f"{folder.path}{os.sep}")
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = self._entries(folder.path)
            yield folder, entries

            for entry in entries:
                if _is_folder(entry) and not self._is_hidden(entry):
                    waiting = links if entry.is_symlink() else folders
                    waiting.append(_Match(entry.path, folder.links + entry.is_symlink()))

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        if not os.path.isdir(folder):
            return []
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._note(folder, error)
            return []

    def _is_hidden(self, entry: os.DirEntry[str]) -> bool:
        if not entry.name.startswith(HIDDEN):
            return False
        self._pass_over(Reason.HIDDEN, f"{entry.path}{os.sep}" if _is_folder(entry) else entry.path)
        return True

    def _pass_over(self, reason: Reason, path: str) -> None:
        if (reason, path) not in self._counted:
            self._counted.add((reason, path))
            self.passed_over.setdefault(reason, []).append(path)

    def _note(self, folder: str, error: OSError) -> None:
        found = error.strerror or str(error)
        self.problems.append(
            Problem(subject=folder, expected="a folder that can be read", found=found)
        )


def _find(search: _Search, table: str, pattern: str) -> tuple[list[_Match], Problem | None]:
    """Returns what is behind a pattern and is no folder, of any format; and what is wrong."""
    if "://" in pattern:
        advice = "a path; mount the bucket as a folder, or copy the log"
        return [], Problem(subject=f"data.{table}", expected=advice, found=repr(pattern))
    plain = _ESCAPED.sub(r"\1", pattern)
    # What is there is meant as it is, whatever characters it has; but a file named `*.csv` is one of its own pattern.
    literal = not (glob.has_magic(pattern) and fnmatchcase(plain, pattern))
    if literal and os.path.isfile(plain):
        known = format_of(plain)
        return ([_Match(plain)], None) if known else ([], _none_in(plain, [plain]))

    matches = [_Match(plain)] if literal and os.path.exists(plain) else list(search.match(pattern))
    files: list[_Match] = []
    for match in matches:
        files += search.files_below(match) if os.path.isdir(match.path) else [match]
    if any(format_of(file.path) for file in files):
        return files, None
    search.choose(files)  # counts them
    if matches:
        return [], _none_in(plain, [file.path for file in files] or _names_in(plain))
    hidden = search.passed_over.get(Reason.HIDDEN, [])
    found = f"only {Reason.HIDDEN}: {_shorten(hidden)}" if hidden else _nearest_folder(plain)
    return [], Problem(subject=plain, expected=f"a file or folder of {table}", found=found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(status: os.stat_result, path: str) -> tuple[int, ...]:
    number = status.st_ino or hash(os.path.realpath(path))
    return status.st_dev, number, status.st_size, status.st_mtime_ns


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _none_in(pattern: str, paths: Iterable[str]) -> Problem:
    return Problem(subject=pattern, expected=_EXPECTED, found=_shorten(paths) or "nothing")


def _nearest_folder(pattern: str) -> str:
    """Says how far down the path exists, and what is there instead."""
    path = Path(pattern)
    folder = next((parent for parent in path.parents if os.path.isdir(parent)), None)
    if folder is None:
        return "nothing"
    if folder != path.parent:
        return f"nothing: the folder {path.parent} does not exist"
    return f"no such file; the folder has {_shorten(_names_in(str(folder))) or 'nothing'}"


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _shorten(paths: Iterable[str], shown: int = 8) -> str:
    names = sorted(os.path.basename(path.rstrip(os.sep)) for path in paths)
    return ", ".join(names[:shown]) + (
        f" and {len(names) - shown} more" if len(names) > shown else ""
    )
