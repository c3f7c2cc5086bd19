"""Who is who: tables of groups, learners, units and users, from files into the database.

Whatever is wrong is reported at once, by file, row and column, and then nothing is written. What a
file does not mention stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import Connection, Engine, delete, select, tuple_

from components.contracts.names import ORDER
from components.errors import MasteryError
from components.event_log.chunks import number_of
from components.event_log.column_kinds import Kind
from components.event_log.column_kinds import Table as Columns
from components.event_log.problems import SHOWN_PLACES, Place, Problem, describe
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile, format_of
from components.event_log.tables import read_table
from serving.answers.derived import move_learners
from serving.answers.store import copy_rows, sole_writer
from serving.answers.tables import Group, Learner, Membership, Table, Unit, User

if TYPE_CHECKING:
    from sqlalchemy.orm import InstrumentedAttribute

ROLES = ("teacher", "manager", "admin")
_SHOWN = 20  # problems


@dataclass(frozen=True)
class _Form:
    """What a file of one kind holds.

    Attributes:
        table: where its rows go.
        key: the columns of which no two rows have the same values.
        kinds: how its columns are read.
        needed: columns that it must have.
    """

    table: type[Table]
    key: tuple[str, ...]
    kinds: dict[str, Kind]
    needed: tuple[str, ...]


FORMS = {  # in the order of writing: each refers only to what is before it
    "groups": _Form(
        Group,
        ("group_id",),
        {"group_id": Kind.KEY, "name": Kind.KEY, "region": Kind.TEXT},
        ("group_id", "name"),
    ),
    "learners": _Form(
        Learner,
        ("learner_id",),
        {"learner_id": Kind.KEY, "name": Kind.TEXT, "group_id": Kind.TEXT},
        ("learner_id",),
    ),
    "units": _Form(
        Unit,
        ("unit_id",),
        {
            "unit_id": Kind.KEY,
            "title": Kind.KEY,
            "course": Kind.TEXT,
            "prerequisites": Kind.TEXT,
        },
        ("unit_id", "title"),
    ),
    "users": _Form(
        User,
        ("user",),
        {"user": Kind.KEY, "name": Kind.KEY, "role": Kind.KEY, "capacity": Kind.NUMBER},
        ("user", "name", "role"),
    ),
    "memberships": _Form(
        Membership, ("user", "group_id"), {"user": Kind.KEY, "group_id": Kind.KEY},
        ("user", "group_id"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """What became of a file.

    Attributes:
        rows: that it has.
        changed: that were new or others before.
        removed: memberships that its users had besides.
        ignored: its columns that are not read.
    """

    rows: int
    changed: int
    removed: int
    ignored: tuple[str, ...]


@dataclass
class _File:
    """A file that was read.

    Attributes:
        rows: as the table has them, and `_order`.
        file: where it is.
        ignored: its columns that are not read.
        problems: what is wrong with it.
    """

    rows: pl.DataFrame
    file: LogFile
    ignored: tuple[str, ...]
    problems: list[Problem]

    def refuse(self, wrong: pl.Series, column: str, expected: str) -> None:
        """Notes rows whose value in a column is wrong."""
        found = self.rows.filter(wrong)
        if found.is_empty():
            return
        numbers = [number_of(order) for order in found[ORDER]]
        shown = zip(numbers, found[column].head(SHOWN_PLACES), strict=False)
        places = tuple(Place(row=number, found=describe(value)) for number, value in shown)
        self.problems.append(
            Problem(
                subject=self.file.path,
                column=column,
                expected=expected,
                unit=self.file.unit,
                places=places,
                count=found.height,
            )
        )


def import_people(engine: Engine, paths: Mapping[str, Path]) -> dict[str, Imported]:
    """Writes files into the tables of who is who, all of them or nothing.

    The users of a file of memberships then have those of the file and no others.

    Args:
        engine: the database.
        paths: the files, by the names of `FORMS`.

    Raises:
        MasteryError: lists everything that is wrong with the files.
    """
    files = {name: _read(name, paths[name]) for name in FORMS if name in paths}
    with sole_writer(engine) as connection:
        _raise_if_any(files.values())  # a group in a wrong row would be called unknown
        _check_references(connection, files)
        _raise_if_any(files.values())
        return {name: _write(connection, name, file) for name, file in files.items()}


def _raise_if_any(files: Iterable[_File]) -> None:
    problems = [problem for file in files for problem in file.problems]
    if not problems:
        return
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"  - {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN} more")
    raise MasteryError("\n".join([f"Nothing was written. The files have {count}:", *lines]))


# Reading


def _read(name: str, path: Path) -> _File:
    """Returns the rows of a file that can be read, with its problems.

    Raises:
        MasteryError: it is missing, or of another format.
    """
    form = FORMS[name]
    kind = format_of(str(path))
    if kind is None or not path.is_file():
        found = "another name" if path.is_file() else "no such file"
        raise MasteryError(
            f"--{name} {path}: expected a file .csv, .parquet or .jsonl, found {found}."
        )
    file = LogFile(str(path), kind, 0)
    chunk = next(iter(read_chunks(file, [])), None)
    header = getattr(chunk, "header", ())
    kinds = {
        column: kind
        for column, kind in form.kinds.items()
        if column in form.needed or column in header
    }

    frames, problems = [], []
    for frame, tally in read_table(file, Columns(name=name, kinds=kinds)):
        problems += tally.problems
        frames += [] if frame is None else [frame]
    rows = pl.concat(frames) if frames else _no_rows(kinds)
    ignored = tuple(column for column in header if column not in kinds)
    read = _File(_as_stored(rows), file, ignored, problems)
    if not frames and not problems:
        problems.append(Problem(subject=str(path), expected="at least one row", found="none"))
    _check(read, name)
    return read


def _no_rows(kinds: Mapping[str, Kind]) -> pl.DataFrame:
    types = {
        column: pl.Float32 if kind is Kind.NUMBER else pl.String for column, kind in kinds.items()
    }
    return pl.DataFrame(schema={**types, ORDER: pl.Int64})


def _as_stored(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns empty text as nothing, and prerequisites as lists."""
    text = pl.col(pl.String)
    rows = rows.with_columns(pl.when(text != "").then(text))
    if "prerequisites" in rows.columns:
        parts = pl.col("prerequisites").fill_null("").str.split("|")
        names = parts.list.eval(pl.element().str.strip_chars())
        rows = rows.with_columns(names.list.eval(pl.element().filter(pl.element() != "")))
    return rows


def _check(file: _File, name: str) -> None:
    """Notes what is wrong with the rows alone."""
    rows = file.rows
    key = FORMS[name].key
    again = ~rows.select(pl.struct(key).is_first_distinct()).to_series()
    file.refuse(again, key[-1], f"no two rows with the same {' and '.join(key)}")
    if name == "users":
        expected = f"one of {', '.join(ROLES)}"
        file.refuse(~rows["role"].is_in(ROLES).fill_null(False), "role", expected)
    if "capacity" in rows.columns:
        number = rows["capacity"]
        whole = (number >= 0) & (number == number.floor())
        file.refuse(~whole.fill_null(True), "capacity", "a whole number from 0, or nothing")
    if "prerequisites" in rows.columns:
        _check_circles(file)


def _check_circles(file: _File) -> None:
    """Notes units that come before themselves."""
    rows = file.rows.select("unit_id", "prerequisites").rows()
    before = {unit: set(names) for unit, names in rows}
    reached = dict(before)
    while True:
        longer = {
            unit: names.union(*(before.get(name, set()) for name in names))
            for unit, names in reached.items()
        }
        if longer == reached:
            break
        reached = longer
    circles = pl.Series([unit in reached[unit] for unit, _ in rows], dtype=pl.Boolean)
    file.refuse(circles, "unit_id", "units that do not come before themselves (prerequisites)")


# Writing


def _check_references(connection: Connection, files: Mapping[str, _File]) -> None:
    """Notes groups, users and units that neither a file nor the database has."""
    for name, column, target, key in (
        ("learners", "group_id", "groups", Group.group_id),
        ("memberships", "group_id", "groups", Group.group_id),
        ("memberships", "user", "users", User.user),
    ):
        file = files.get(name)
        if file is None or column not in file.rows.columns:
            continue
        known = _known(connection, files.get(target), key)
        unknown = ~file.rows[column].is_in(known) & file.rows[column].is_not_null()
        file.refuse(unknown, column, f"one of the {target}, in --{target} or the database")

    file = files.get("units")
    if file is not None and "prerequisites" in file.rows.columns:
        units = set(_known(connection, file, Unit.unit_id))
        wrong = [not set(names) <= units for names in file.rows["prerequisites"]]
        expected = "units, separated by |, that are in the file or the database"
        file.refuse(pl.Series(wrong, dtype=pl.Boolean), "prerequisites", expected)


def _known(
    connection: Connection, file: _File | None, key: InstrumentedAttribute[str]
) -> list[str]:
    stored = set(connection.scalars(select(key)))
    given = set() if file is None else set(file.rows[key.key].drop_nulls())
    return sorted(stored | given)


def _write(connection: Connection, name: str, file: _File) -> Imported:
    form = FORMS[name]
    rows = file.rows.drop(ORDER)
    if "capacity" in rows.columns:
        rows = rows.with_columns(pl.col("capacity").cast(pl.Int64))
    moved = _moved(connection, rows) if name == "learners" and "group_id" in rows.columns else None
    removed = _remove_others(connection, rows) if name == "memberships" else 0
    if name == "units" and "prerequisites" not in rows.columns:
        rows = _with_known_prerequisites(connection, rows)

    changed = copy_rows(connection, form.table, rows, on_conflict="replace")
    if moved is not None and not moved.is_empty():
        move_learners(connection, moved)
    return Imported(rows.height, changed, removed, file.ignored)


def _moved(connection: Connection, rows: pl.DataFrame) -> pl.DataFrame:
    """Returns the learners of the database who get another group, with both."""
    stored = connection.execute(select(Learner.learner_id, Learner.group_id)).all()
    schema = {"learner_id": pl.String, "old_group": pl.String}
    known = pl.DataFrame([tuple(row) for row in stored], schema, orient="row")
    both = rows.select("learner_id", new_group="group_id").join(known, on="learner_id")
    moved = both.filter(pl.col("old_group").ne_missing(pl.col("new_group")))
    return moved.select("learner_id", "old_group", "new_group")


def _remove_others(connection: Connection, rows: pl.DataFrame) -> int:
    """Removes the memberships that the users of a file have besides those in it."""
    users: Iterable[str] = rows["user"].unique()
    kept = rows.select("user", "group_id").rows()
    key = tuple_(Membership.user, Membership.group_id)
    stored = connection.execute(
        select(Membership.user, Membership.group_id).where(Membership.user.in_([*users]))
    )
    others = {tuple(row) for row in stored} - set(kept)
    for pair in sorted(others):
        connection.execute(delete(Membership).where(key == tuple_(*pair)))
    return len(others)


def _with_known_prerequisites(connection: Connection, rows: pl.DataFrame) -> pl.DataFrame:
    stored = connection.execute(select(Unit.unit_id, Unit.prerequisites))
    known = {row.unit_id: row.prerequisites for row in stored}
    values = [known.get(unit, []) for unit in rows["unit_id"]]
    return rows.with_columns(pl.Series("prerequisites", values, dtype=pl.List(pl.String)))
