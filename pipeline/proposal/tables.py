"""Tells the tables of a log apart: events, and what became of the learners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from components.errors import MasteryError
from components.event_log.problems import SHOWN_COLUMNS
from components.event_log.sources import format_of
from components.platforms.formats import STANDARD
from pipeline.proposal.look import Look, look_at, look_at_table
from pipeline.proposal.profile import Profile
from pipeline.proposal.reading import key_ways
from pipeline.proposal.recognise import LOGS, Recognised, recognise
from pipeline.proposal.roles import Guess, roles_of_events, roles_of_outcomes
from pipeline.proposal.target import table_names
from pipeline.proposal.words import Role

MOST_BESIDE = 20  # files beside that of events that are looked at for outcomes
LEAST_SURE = 0.65  # that a column of a table nobody named is a label


@dataclass(frozen=True)
class OutcomeTable:
    """A table of outcomes or grades, and which column of it is what."""

    look: Look
    profiles: list[Profile]
    roles: dict[Role, Guess]

    @classmethod
    def of(cls, look: Look, given: Mapping[Role, str] | None = None) -> OutcomeTable:
        """Returns a table with the roles of its columns.

        Args:
            look: at the table.
            given: columns that the user named.
        """
        require_columns(look, (given or {}).values())
        profiles = profiles_of(look)
        return cls(look, profiles, roles_of_outcomes(profiles, given))

    @property
    def names(self) -> dict[str, str]:
        """Its names of the columns of every log."""
        return table_names(self.roles)

    @property
    def mapping(self) -> dict[str, Any]:
        """The ways to its keys, where they have other names or are made of several columns."""
        return {name: way for name, way in key_ways(self.roles).items() if way != name}

    @property
    def says_when(self) -> bool:
        """Whether rows say as of when they were true, and in which unit."""
        return Role.AS_OF in self.roles and Role.UNIT in self.roles

    @property
    def is_likely(self) -> bool:
        """Whether it says of learners how they did."""
        label = self.roles.get(Role.LABEL)
        return Role.LEARNER in self.roles and label is not None and label.sure >= LEAST_SURE


@dataclass(frozen=True)
class Tables:
    """The tables of a log.

    Attributes:
        events: the events.
        format: who wrote them.
        outcomes: a table of outcomes or grades, None where there is none.
        unread: further tables of the platform, which the log tells of too.
        foreign: files of other platforms, each with its format.
    """

    events: Look
    format: Recognised
    outcomes: OutcomeTable | None
    unread: tuple[str, ...] = ()
    foreign: tuple[tuple[str, str], ...] = ()


def find_tables(
    events: Sequence[str],
    outcomes: Sequence[str],
    *,
    format: str,  # noqa: A002
    label: str,
) -> Tables:
    """Returns the tables that files hold.

    Args:
        events: files, folders or patterns; a folder may hold the outcomes too.
        outcomes: the same for outcomes, if the user named them.
        format: who wrote the events; empty to find out.
        label: the column of outcomes to predict; empty to find out.

    Raises:
        LogError: there are no such files.
        MasteryError: none of them holds events.
    """
    given = {Role.LABEL: label} if label else {}
    named = OutcomeTable.of(look_at_table(outcomes), given) if outcomes else None
    looks = look_at(events)
    if named is not None:
        taken = {file.path for file in named.look.files}
        looks = [one for one in looks if not taken & {file.path for file in one.files}] or looks

    recognised = [Recognised(format, "given") if format else recognise(one) for one in looks]
    platform = next((found for found in recognised if found.format != STANDARD), None)
    if platform is not None:
        pairs = [*zip(recognised, looks, strict=True)]
        parts = [(found, one) for found, one in pairs if found.format == platform.format]
        # A log tells of attempts and grades as well: with their own tables they would count twice.
        logs = [(found, one) for found, one in parts if found.kind in LOGS] or parts
        others = [one for found, one in pairs if found.format == STANDARD]
        foreign = [
            (file.path, found.format)
            for found, one in pairs
            for file in one.files
            if found.format not in (STANDARD, platform.format)
        ]
        log = _joined([one for _, one in logs], events if len(logs) == len(pairs) else ())
        unread = [path.path for pair in parts if pair not in logs for path in pair[1].files]
        found = named or _outcomes_among(others or _beside(log), given)
        return Tables(log, logs[0][0], found, tuple(unread), tuple(foreign))

    log = max(looks, key=lambda one: (_could_be_events(one), one.bytes))
    others = [one for one in looks if one is not log]
    found = named or _outcomes_among(others or _beside(log), given, log)
    return Tables(log, Recognised(STANDARD, ""), found)


def profiles_of(look: Look) -> list[Profile]:
    """Returns what was seen of each column."""
    return [Profile(column, decimal=look.dialect.decimal) for column in look.frame.iter_columns()]


def require_columns(look: Look, names: Iterable[str]) -> None:
    """Makes sure that a table has columns that the user named.

    Raises:
        MasteryError: it lacks one.
    """
    header = look.frame.columns
    for name in names:
        if name not in header:
            raise MasteryError(
                f"{look.files[0].path}: expected a column {name!r}, found "
                f"{', '.join(header[:SHOWN_COLUMNS])}."
            )


def _joined(parts: Sequence[Look], patterns: Sequence[str]) -> Look:
    """Returns the look at a platform's tables, which are read together."""
    files = tuple(file for one in parts for file in one.files)
    paths = tuple(patterns) or tuple(file.path for file in files)
    frame = pl.concat([one.frame for one in parts], how="diagonal")
    return Look(paths, files, frame, parts[0].dialect)


def _could_be_events(look: Look) -> bool:
    profiles = profiles_of(look)
    roles = roles_of_events(profiles)
    if Role.TIME not in roles or Role.LEARNER not in roles:
        return False
    outcomes = OutcomeTable.of(look)
    return not (outcomes.says_when and outcomes.is_likely) or (
        outcomes.roles[Role.AS_OF].column == roles[Role.TIME].column
    )


def _beside(log: Look) -> list[Look]:
    """Returns looks at the other files in the folder of a single file of events."""
    if len(log.files) != 1:
        return []
    file = Path(log.files[0].path)
    others = [path for path in sorted(file.parent.iterdir()) if path.is_file() and path != file]
    looks = []
    for path in [path for path in others if format_of(path.name)][:MOST_BESIDE]:
        try:
            looks.append(look_at_table([str(path)]))
        except MasteryError:
            continue  # nobody asked for this file
    return looks


def _outcomes_among(
    looks: Sequence[Look], given: Mapping[Role, str], log: Look | None = None
) -> OutcomeTable | None:
    """Returns the table that says of learners how they did; those of the log, if it is a table."""
    learners: set[object] | None = None
    if log is not None:
        roles = roles_of_events(profiles_of(log))
        learner = roles.get(Role.LEARNER)
        learners = set() if learner is None else {*log.frame[learner.column].unique()}
    for look in looks:
        if not {*given.values()} <= {*look.frame.columns}:
            continue
        table = OutcomeTable.of(look, given)
        if not table.is_likely or (log is not None and look.frame.columns == log.frame.columns):
            continue
        found = look.frame[table.roles[Role.LEARNER].column].unique()
        if learners is None or learners & {*found}:
            return table
    return None
