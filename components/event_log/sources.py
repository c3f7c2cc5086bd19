"""Finds the files of a log: every real file once; files that are passed over are counted by reason.

Files and folders whose name starts with `.` or `_` are never part of a log: markers (`_SUCCESS`),
checksums (`.part-0.csv.crc`), unfinished output (`_temporary`), an editor's copies
(`.ipynb_checkpoints`). Links are followed, and a file that has two names is read once.

Files `.json` often only describe a log. They are read where a path or pattern ends so.
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
from typing import TYPE_CHECKING
from urllib.parse import unquote

from components.command.escape import printable
from components.event_log.missing_files import names_in, no_match, wrong_format
from components.event_log.problems import Problem, raise_if_any

if TYPE_CHECKING:
    from components.config.mapping import EventMapping

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".csv.gz": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonl.gz": "jsonl", ".ndjson.gz": "jsonl",
    ".json": "json", ".json.gz": "json",
}  # fmt: skip
HIDDEN = (".", "_")

_ESCAPED = re.compile(r"\[([*?[])\]")  # a special character after glob.escape
_PARTITION = re.compile(r"([^=]+)=(.*)", re.DOTALL)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class Reason(StrEnum):
    """Why a path that was found is not read."""

    HIDDEN = "hidden or starting with _"
    AGAIN = "already read under another name"
    FORMAT = "of another format"
    EMPTY = "empty (0 bytes)"
    DANGLING = "broken links"
    SPECIAL = "neither files nor folders"


@dataclass(frozen=True)
class LogFile:
    """A file of a table of the log.

    Attributes:
        path: where it is.
        format: `parquet`, `csv`, `jsonl` or `json`.
        index: its number among the files of its table; orders events at the same time.
    """

    path: str
    format: str
    index: int

    @property
    def unit(self) -> str:
        """What an error message counts in this file: `row`, `line` or `record`."""
        return {"parquet": "row", "json": "record"}.get(self.format, "line")

    @property
    def partition(self) -> dict[str, str | None]:
        """Columns in the names of the path's folders, as Hive and Spark write them.

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
        files: pattern by pattern, sorted by name within a pattern, none twice.
        problems: files and patterns that cannot be read.
        passed_over: paths that were found and are not read, by reason.
    """

    files: list[LogFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    passed_over: dict[Reason, list[str]] = field(default_factory=dict)

    def describe_passed_over(self, shown: int = 2) -> str:
        """Returns one line: how many paths were passed over and why, with `shown` examples each.

        Empty if none were passed over.
        """
        reasons = []
        for reason in filter(self.passed_over.get, Reason):
            paths = self.passed_over[reason]
            endings = ["/".join(path.split("/")[-3:]) for path in paths[:shown]]
            names = ", ".join(map(printable, endings))
            more = ", ..." if len(paths) > shown else ""
            reasons.append(f"{len(paths):,} {reason} ({names}{more})")
        return ", ".join(reasons)


def find_files(table: str, patterns: Sequence[str], mapping: EventMapping | None = None) -> Listing:
    """Finds the files behind paths, folders and glob patterns.

    Folders are searched at any depth, also folders that a pattern matches. Names that start with
    `.` or `_` are read only if the path or pattern itself spells them out.

    Args:
        table: `events` or `outcomes`, for messages.
        patterns: without `{SPAN}` and the like; see `spans.choose_spans`. None: no files.
        mapping: that of the files' format, which may have names of its own.
    """
    search = _Search(mapping.file_names if mapping else None)
    paths: dict[str, str] = {}
    problems: list[Problem] = []
    for pattern in patterns:
        matches, problem = _find(search, table, pattern)
        problems += [problem] if problem else []
        paths.update(search.choose(matches, pattern))
    problems += search.problems

    listing = Listing(problems=problems, passed_over=search.passed_over)
    listing.files = [LogFile(path, kind, index) for index, (path, kind) in enumerate(paths.items())]
    if patterns and not paths and not problems:
        expected = "at least one file with rows"
        found = f"only {listing.describe_passed_over()}"
        problems.append(Problem(subject=f"data.{table}", expected=expected, found=found))
    return listing


def expand_pattern(pattern: str) -> list[str]:
    """Returns the paths that a pattern matches by the rules of `find_files`, sorted.

    Raises:
        LogError: a folder on the way cannot be read.
    """
    search = _Search()
    paths = sorted({match.path for match in search.match(pattern)})
    raise_if_any(search.problems)
    return paths


def format_of(path: str, pattern: str = ".json", json_lines: str | None = None) -> str | None:
    """Returns the format that a file's name stands for, None for an unknown one.

    A file `.json` has none if the pattern by which it was found does not end so. `json_lines` is a
    regular expression for other names that JSON lines have.

    >>> format_of("log/2024.CSV.gz")
    'csv'
    """
    name = os.path.basename(path).lower()
    found = next((kind for suffix, kind in FORMATS.items() if name.endswith(suffix)), None)
    if found is None and json_lines is not None and re.search(json_lines, name):
        return "jsonl"
    is_asked_for = pattern.lower().endswith((".json", ".json.gz"))
    return None if found == "json" and not is_asked_for else found


@dataclass(frozen=True)
class _Match:
    """A path that was found, and the number of links on the way: fewer links, better name."""

    path: str
    links: int = 0


class _Search:
    """Searches folders; keeps the paths it passed over and those it could not read."""

    def __init__(self, json_lines: str | None = None) -> None:
        self.passed_over: dict[Reason, list[str]] = {}
        self.problems: list[Problem] = []
        self.json_lines = json_lines
        self._known: dict[tuple[int, ...], str] = {}  # the path by which each real file is read
        self._counted: set[tuple[Reason, str]] = set()  # patterns that overlap find a path twice

    def match(self, pattern: str) -> Iterator[_Match]:
        """Yields the files and folders that a pattern matches."""
        path = Path(pattern)
        parts = [part for part in path.parts if part != path.anchor]
        yield from self._match(_Match(path.anchor or "."), parts)

    def files_below(self, folder: _Match) -> Iterator[_Match]:
        """Yields all files below a folder, at any depth."""
        for below, entries in self._folders(folder):
            for entry in entries:
                if not _is_folder(entry) and not self._is_hidden(entry):
                    yield _Match(str(Path(entry.path)), below.links + entry.is_symlink())

    def choose(self, found: Iterable[_Match], pattern: str) -> dict[str, str]:
        """Returns the paths to read and their formats: every real file once, sorted.

        Of several names of a file, the one behind the fewest links is taken. Files that earlier
        patterns have found are left out.
        """
        chosen = {}
        links = {match.path: match.links for match in found}
        for path in sorted(links, key=lambda path: (links[path], path)):
            if kind := self._judge(path, pattern):
                chosen[path] = kind
        return dict(sorted(chosen.items()))

    def _judge(self, path: str, pattern: str) -> str | None:
        """Returns the format of a file to read; None after counting it or noting its problem."""
        kind = format_of(path, pattern, self.json_lines)
        try:
            status = os.stat(path)
        except OSError as error:
            if kind:
                self._note(path, "broken link" if os.path.islink(path) else error)
            else:
                self._pass_over(Reason.DANGLING, path)
            return None

        if reason := self._reason_to_skip(path, kind, status):
            self._pass_over(reason, path)
            return None
        if not _is_utf8(path):
            expected = "a file name in UTF-8 (rename the file, or the folder it is in)"
            found = repr(os.fsencode(path))
            self.problems.append(Problem(subject=path, expected=expected, found=found))
            return None
        return kind

    def _reason_to_skip(self, path: str, kind: str | None, status: os.stat_result) -> Reason | None:
        if not stat.S_ISREG(status.st_mode):
            return Reason.SPECIAL
        if not kind:
            return Reason.FORMAT
        if status.st_size == 0 and kind != "parquet":
            return Reason.EMPTY
        is_new = self._known.setdefault(_identity(status, path), path) == path
        return None if is_new else Reason.AGAIN

    def _match(self, start: _Match, parts: Sequence[str]) -> Iterator[_Match]:
        if not parts:
            yield start
            return
        part, *rest = parts

        if part == "**":
            if not rest:
                yield start
                return
            for folder, _ in self._folders(start):
                yield from self._match(folder, rest)
        elif glob.has_magic(part):
            for found in self._match_names(start, part, folders_only=bool(rest)):
                yield from self._match(found, rest)
        else:
            path = str(Path(start.path, part))
            if os.path.lexists(path):
                yield from self._match(_Match(path, start.links + os.path.islink(path)), rest)

    def _match_names(self, start: _Match, part: str, *, folders_only: bool) -> Iterator[_Match]:
        for entry in self._entries(start.path):
            if not fnmatchcase(entry.name, part) or (folders_only and not _is_folder(entry)):
                continue
            if entry.name[0] == part[0] or not self._is_hidden(entry):
                yield _Match(str(Path(entry.path)), start.links + entry.is_symlink())

    def _folders(self, top: _Match) -> Iterator[tuple[_Match, list[os.DirEntry[str]]]]:
        """Yields a folder and all folders below it with their entries.

        Each real folder is yielded once, and those behind links last.
        """
        seen: set[tuple[int, int]] = set()
        folders = deque([top])
        links = deque[_Match]()
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

    def _note(self, path: str, error: OSError | str) -> None:
        reason = error if isinstance(error, str) else error.strerror or str(error)
        self.problems.append(Problem(subject=path, failure=f"could not be read ({reason})"))


def _find(search: _Search, table: str, pattern: str) -> tuple[list[_Match], Problem | None]:
    """Returns the files of any format behind a pattern, or its problem."""
    if "://" in pattern:
        expected = "a path; mount the bucket as a folder, or copy the log"
        return [], Problem(subject=f"data.{table}", expected=expected, found=repr(pattern))

    # A path that exists is taken literally, whatever characters it has; but a file that is itself
    # named `*.csv` is one match of its pattern among others.
    plain = _ESCAPED.sub(r"\1", pattern)
    literal = not (glob.has_magic(pattern) and fnmatchcase(plain, pattern))
    if literal and os.path.isfile(plain):
        if format_of(plain, pattern, search.json_lines):
            return [_Match(plain)], None
        return [], wrong_format(plain, [plain])

    is_path = literal and os.path.exists(plain)
    matches = [_Match(plain)] if is_path else list(search.match(pattern))
    files: list[_Match] = []
    for match in matches:
        files += search.files_below(match) if os.path.isdir(match.path) else [match]
    if any(format_of(file.path, pattern, search.json_lines) for file in files):
        return files, None
    search.choose(files, pattern)  # counts them as passed over
    hidden = search.passed_over.get(Reason.HIDDEN, [])
    if files or (matches and not hidden):
        return [], wrong_format(plain, [file.path for file in files] or names_in(plain))
    return [], no_match(plain, table, Reason.HIDDEN, hidden)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(status: os.stat_result, path: str) -> tuple[int, ...]:
    # Some network file systems renumber files while they are read, so the number alone is not
    # enough: size and time have to be the same too.
    number = status.st_ino or hash(os.path.realpath(path))
    return status.st_dev, number, status.st_size, status.st_mtime_ns


def _is_utf8(path: str) -> bool:
    return path.encode(errors="replace").decode() == path
