"""Small files beside a log: tables to look values up in, and lists of values.

They are read once per process, and again if they have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from components.command.suggest import did_you_mean
from components.config.record_paths import LOOKUPS, lookup_of
from components.event_log.problems import SHOWN_COLUMNS, Hint, Problem, describe
from components.event_log.record_text import as_text
from components.event_log.sources import LogFile, format_of

if TYPE_CHECKING:
    from components.config.mapping import EventMapping, Lookup
    from components.event_log.chunks import Chunk

LARGEST_BYTES = 256 << 20  # of the columns of a table that are needed, and of a list

Read = Callable[[LogFile, Sequence[str]], Iterator["Chunk | Problem"]]
Content = TypeVar("Content")

_KEY = "key"
_FOUND = "found"
_WHOLE = r"^(-?\d+)\.0+$"  # how pandas writes whole numbers in a column with gaps
_READ: dict[tuple[object, ...], tuple[tuple[int, int], object]] = {}


class _UnusableError(Exception):
    """A file that cannot be used."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class Lookups:
    """The lookups that some paths name, in memory.

    Attributes:
        mapping: which names them.
        tables: by name: `key`, and the columns by their paths.
        problems: why some of them cannot be used.
    """

    mapping: EventMapping
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add_to(self, values: pl.DataFrame, paths: Sequence[str]) -> pl.DataFrame:
        """Returns the values of records with those of lookups, in columns named by their paths.

        A key that a lookup does not have gives nothing.

        Args:
            values: at the paths of the keys, among others.
            paths: what is needed, of records and lookups.
        """
        for name in dict.fromkeys(at[0] for at in map(lookup_of, paths) if at):
            path = self.mapping.lookups[name].path
            key = pl.col(path).str.replace(_WHOLE, "${1}").alias(_KEY)
            table = self.tables[name]
            found = values.select(key).join(table, on=_KEY, how="left", maintain_order="left")
            values = values.hstack(found.drop(_KEY).rename({_FOUND: _FOUND + name}))
        return values

    def hints(self, values: pl.DataFrame, chunk: Chunk, file: LogFile) -> Iterator[Hint]:
        """Yields how many records have a key that a lookup does not have.

        Args:
            values: as `add_to` returns them for events.
            chunk: where they are from, with the number of each.
            file: the file of the chunk.
        """
        for name in self.tables:
            if _FOUND + name not in values.columns:
                continue  # only rules look values up there
            path = self.mapping.lookups[name].path
            keys = values[path]
            unknown = (keys.is_not_null() & values[_FOUND + name].is_null()).arg_true()
            if len(unknown):
                first = int(unknown[0])
                place = f"{file.path}, {chunk.unit} {chunk.numbers[first]}"
                yield Hint(
                    text=f"events whose {path} is not in the lookup {name} (nothing is found)",
                    count=len(unknown),
                    example=f"{describe(keys[first])} in {place}",
                )


def load_lookups(read: Read, dialect: str, mapping: EventMapping, paths: Sequence[str]) -> Lookups:
    """Reads the lookups that some paths name, or takes them from memory.

    Args:
        read: reads some columns of a file.
        dialect: how CSV files are written; tells apart what is in memory.
        mapping: has the lookups.
        paths: in records and lookups.
    """
    lookups = Lookups(mapping)
    wanted: dict[str, list[str]] = {}
    for name, column in filter(None, map(lookup_of, paths)):
        wanted.setdefault(name, []).append(column)
    for name, columns in wanted.items():
        lookup = mapping.lookups[name]
        needed = tuple(dict.fromkeys(columns))
        try:
            table = _remembered(
                (lookup.table, lookup.key, needed, dialect),
                lookup.table,
                f"the table of data.lookups.{name}",
                lambda: _read_lookup(read, name, lookup, needed),  # noqa: B023 (called at once)
            )
        except _UnusableError as error:
            lookups.problems.append(error.problem)
            continue
        names = {column: f"{LOOKUPS}.{name}.{column}" for column in needed}
        lookups.tables[name] = table.select(
            pl.col(lookup.key).alias(_KEY),
            *(pl.col(column).alias(path) for column, path in names.items()),
            pl.lit(value=True).alias(_FOUND),
        )
    return lookups


def _remembered(
    key: tuple[object, ...], path: str, what: str, make: Callable[[], Content]
) -> Content:
    """Returns what a file holds, from memory unless the file has changed.

    Raises:
        _UnusableError: there is no such file.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        found = error.strerror or str(error)
        raise _UnusableError(Problem(subject=path, expected=what, found=found)) from None
    stamp = (status.st_mtime_ns, status.st_size)
    known = _READ.get(key)
    if known is None or known[0] != stamp:
        known = (stamp, make())
        _READ[key] = known
    return known[1]  # type: ignore[return-value]


def _read_lookup(read: Read, name: str, lookup: Lookup, columns: Sequence[str]) -> pl.DataFrame:
    """Returns the keys of a lookup, each once, and some of its columns, all as text."""
    kind = format_of(lookup.table)
    if kind is None:
        expected = "Parquet, CSV or JSON lines"
        raise _UnusableError(Problem(subject=lookup.table, expected=expected, found=lookup.table))
    file = LogFile(lookup.table, kind, 0)
    frames: list[pl.DataFrame] = []
    numbers: list[int] = []
    size = 0
    wanted = [*dict.fromkeys([lookup.key, *columns])]
    for chunk in read(file, wanted):
        if isinstance(chunk, Problem):
            raise _UnusableError(chunk)
        if missing := [column for column in wanted if column not in chunk.frame.columns]:
            raise _UnusableError(_explain_missing(name, file, missing, chunk))
        frames.append(as_text(chunk.frame) if chunk.typed else chunk.frame)
        numbers += chunk.numbers
        size += int(frames[-1].estimated_size())
        if size > LARGEST_BYTES:
            raise _UnusableError(_explain_large(file.path, f"the lookup {name}"))

    table = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
    table = table.with_columns(pl.col(lookup.key).str.replace(_WHOLE, "${1}"))
    _check_keys(table[lookup.key], numbers, name, file)
    return table


def _check_keys(keys: pl.Series, numbers: Sequence[int], name: str, file: LogFile) -> None:
    if keys.null_count():
        row = int(keys.is_null().arg_true()[0])
        expected = f"a key in every {file.unit} of the lookup {name}"
        found = f"none in {file.unit} {numbers[row]}"
    elif keys.is_duplicated().any():
        again = keys.is_duplicated().arg_true()
        key = keys[int(again[0])]
        first, second = (numbers[int(row)] for row in (keys == key).arg_true()[:2])
        more = keys.filter(keys.is_duplicated()).n_unique() - 1
        expected = f"each key once in the lookup {name}"
        found = f"{describe(key)} in {file.unit} {first} and {second}"
        found += f", and {more:,} more keys several times" if more else ""
    else:
        return
    problem = Problem(subject=file.path, column=keys.name, expected=expected, found=found)
    raise _UnusableError(problem)


def _explain_missing(name: str, file: LogFile, missing: list[str], chunk: Chunk) -> Problem:
    names = ", ".join(map(repr, missing))
    found = f"the columns {', '.join(chunk.header[:SHOWN_COLUMNS])}" if chunk.header else "none"
    hint = "".join(did_you_mean(column, chunk.header) for column in missing)
    expected = f"{names} in the lookup {name}"
    return Problem(subject=file.path, expected=expected, found=found + hint)


def _explain_large(path: str, what: str) -> Problem:
    limit = f"at most {LARGEST_BYTES >> 20} MiB in {what}, since it is held in memory"
    return Problem(subject=path, expected=limit, found="more")


def values_in(path: str) -> pl.Series:
    """Returns the values in a list, one per line; blank lines and those with `#` are none.

    Raises:
        KeyError: it was not checked by `problems_of_lists`.
    """
    return _READ[path,][1]  # type: ignore[return-value]


def problems_of_lists(mapping: EventMapping) -> list[Problem]:
    """Reads the lists of values that a mapping names, or finds them in memory.

    Returns:
        Why some of them cannot be used.
    """
    problems = []
    tables = {lookup.table for lookup in mapping.lookups.values()}
    for path in mapping.side_files:
        if path in tables:
            continue
        try:
            _remembered((path,), path, "a text file of values", lambda: _read_list(path))  # noqa: B023
        except _UnusableError as error:
            problems.append(error.problem)
    return problems


def _read_list(path: str) -> pl.Series:
    content = Path(path).read_bytes()
    if len(content) > LARGEST_BYTES:
        raise _UnusableError(_explain_large(path, "a list of values"))
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"other bytes in line {line}"
        raise _UnusableError(Problem(subject=path, expected="UTF-8 text", found=found)) from None
    values = (line.strip() for line in lines)
    return pl.Series([value for value in values if value and value[0] != "#"], dtype=pl.String)
