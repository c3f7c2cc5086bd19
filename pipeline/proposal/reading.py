"""How a log would be read: its format, the ways to its columns, and what the model may read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from components.config.emotions import emotion_in
from components.contracts.names import (
    AS_OF,
    DERIVED_STEPS,
    EVENT_TYPE,
    LEARNER,
    RESERVED,
    TIME,
    UNIT,
)
from pipeline.proposal.roles import SURE, Guess
from pipeline.proposal.words import Role, in_one_spelling, match_name

if TYPE_CHECKING:
    from pipeline.proposal.look import Look
    from pipeline.proposal.profile import Profile

_SPELLED = {"\t": "tab"}
Kind = Literal["categorical", "numeric"]
MOST_VALUES = 5_000  # of a column of words
KEYS = (Role.LEARNER, Role.UNIT, Role.TIME, Role.EVENT_TYPE)
ANSWERS = (Role.SCORE, Role.COMPLETED, Role.CORRECT)
# Columns that keep the standard names, wherever a mapping is written anyway.
_STANDARD = (
    Role.COMPONENT, Role.DWELL, Role.CORRECT, Role.SCORE, Role.COMPLETED, Role.SPEED,
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A column of events that the model may read.

    Attributes:
        name: in the configuration.
        kind: words or numbers.
        why: what was seen of it.
    """

    name: str
    kind: Kind
    why: str = ""


@dataclass
class Reading:
    """How the events of a log are read.

    Attributes:
        look: the files, and what was seen of them.
        format: who wrote them: `standard`, or a platform.
        why: what the format was recognised by.
        columns: `data.columns`.
        mapping: `data.mapping`.
        fields: columns that the model may read.
        left: columns that it should not, and why.
        answers: fields by what they say about learning: scores, completion, right answers.
        notes: comments, by the key in `columns` or `mapping`.
        timezone: of times without one.
        has_zone: whether times name their zone, or are none of a calendar.
    """

    look: Look
    format: str = "standard"
    why: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    mapping: dict[str, Any] = field(default_factory=dict)
    fields: list[Field] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    answers: dict[Role, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    has_zone: bool = True

    @property
    def data(self) -> dict[str, Any]:
        """Returns what `data` says about the events."""
        dialect = self.look.dialect
        patterns = self.look.patterns
        values: dict[str, Any] = {"events": patterns[0] if len(patterns) == 1 else [*patterns]}
        if self.format != "standard":
            values["format"] = self.format
        if self.look.kind == "csv" and not dialect.is_plain:
            values["csv"] = csv_of(self.look)
        for name in ("columns", "mapping"):
            if getattr(self, name):
                values[name] = getattr(self, name)
        if self.timezone != "UTC":
            values["timezone"] = self.timezone
        return values


def csv_of(look: Look) -> dict[str, Any]:
    """Returns `data.csv`: what differs from CSV as it is usually written."""
    dialect = look.dialect
    values: dict[str, Any] = {}
    if dialect.delimiter != ",":
        values["delimiter"] = _SPELLED.get(dialect.delimiter, dialect.delimiter)
    if dialect.missing:
        values["missing"] = [*dialect.missing]
    if dialect.encoding != "utf-8":
        values["encoding"] = dialect.encoding
    if dialect.decimal != ".":
        values["decimal"] = dialect.decimal
    return values


def read_table_of(
    look: Look,
    profiles: Sequence[Profile],
    roles: Mapping[Role, Guess],
    outcomes: Mapping[str, str] | None = None,
    unit: str = "log",
) -> Reading:
    """Returns how a table is read whose columns somebody named.

    Args:
        look: its files.
        profiles: of its columns.
        roles: which column is what.
        outcomes: what the table of outcomes calls `learner_id`, `unit_id` and `as_of`.
        unit: what the only unit is called, where no column tells units apart.
    """
    by_name = {profile.name: profile for profile in profiles}
    names = {role: guess.column for role, guess in roles.items()}
    given = outcomes or {}
    reading = Reading(look, why=f"columns {', '.join(by_name)}")
    ways = _ways(by_name, roles, unit)

    columns = {
        key: names[Role(key)] for key in (LEARNER, UNIT, TIME, EVENT_TYPE) if Role(key) in names
    }
    agrees = all(given.get(key, columns.get(key)) == columns.get(key) for key in (LEARNER, UNIT))
    inputs = _find_inputs(by_name, roles, {})
    if agrees and _is_plain({**ways, **inputs.ways}, columns):
        reading.columns = {key: name for key, name in columns.items() if name != key}
    else:
        standard = {names[role]: role.value for role in _STANDARD if role in names}
        inputs = _find_inputs(by_name, roles, standard)
        found = {**ways, **inputs.ways}
        reading.mapping = {name: way for name, way in found.items() if way != name}
        reading.columns = {
            key: name for key, name in given.items() if key in (LEARNER, UNIT) and name != key
        }
    if given.get(AS_OF, AS_OF) != AS_OF:
        reading.columns[AS_OF] = given[AS_OF]

    reading.fields, reading.left = inputs.fields, inputs.left
    numbers = {item.name for item in inputs.fields if item.kind == "numeric"}
    reading.answers = {
        role: inputs.names[names[role]]
        for role in ANSWERS
        if role in names and inputs.names.get(names[role]) in numbers
    }
    _annotate(reading, by_name, roles)
    if Role.EVENT_TYPE in roles:
        seen = by_name[names[Role.EVENT_TYPE]]
        reading.fields.insert(0, Field(EVENT_TYPE, "categorical", f"{seen.distinct:,} different"))
    return reading


def _annotate(
    reading: Reading, by_name: Mapping[str, Profile], roles: Mapping[Role, Guess]
) -> None:
    """Says in comments why columns were chosen, and what is doubtful about them."""
    reading.notes = {role.value: explain(roles[role]) for role in KEYS if role in roles}
    form = by_name[roles[Role.TIME].column].time
    if form is not None and form.is_ambiguous:
        reading.notes[TIME] = "doubtful, look at it: all dates fit with the month first, too"
    reading.has_zone = by_name[roles[Role.TIME].column].has_zone
    if Role.UNIT not in roles:
        reading.notes[UNIT] = "no column tells units apart: all of the log is one"


def _is_plain(ways: Mapping[str, Any], columns: Mapping[str, str]) -> bool:
    """Returns whether columns are read as they are, the four of every log by another name."""
    return all(way == columns.get(name, name) for name, way in ways.items())


def explain(guess: Guess) -> str:
    """Returns a comment on a choice; a doubtful one names what else it could be."""
    if guess.sure >= SURE:
        return guess.why
    others = f"; it could be {' or '.join(guess.others)}" if guess.others else ""
    return f"doubtful, look at it: {guess.why}{others}"


def input_name(column: str) -> str:
    """Returns a name that inputs of a model may have.

    >>> input_name("Zeit in s"), input_name("正确"), input_name("2nd try")
    ('zeit_in_s', 'correct', '_2nd_try')
    """
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column):
        return column
    plain = re.sub(r"[^a-z0-9]+", "_", in_one_spelling(column)).strip("_")
    if not plain:
        role = next((role for role in (*KEYS, *_STANDARD) if match_name(column, role) == 1), None)
        return role.value if role else "column_" + "_".join(f"{ord(mark):x}" for mark in column[:4])
    return f"_{plain}" if plain[0].isdigit() else plain


def path_of(column: str) -> str:
    """Returns the path of a column in its records; quoted, if its name has marks of its own."""
    return column if re.fullmatch(r'[^."\[\]{}\s]+', column) else f'"{column}"'


def key_ways(roles: Mapping[Role, Guess]) -> dict[str, Any]:
    """Returns the ways to the ids of learners and units."""
    ways: dict[str, Any] = {LEARNER: path_of(roles[Role.LEARNER].column)}
    if Role.UNIT in roles and Role.RUN in roles:
        parts = [path_of(roles[role].column) for role in (Role.UNIT, Role.RUN)]
        ways[UNIT] = {"template": "{" + parts[0] + "} {" + parts[1] + "}"}
    elif Role.UNIT in roles:
        ways[UNIT] = path_of(roles[Role.UNIT].column)
    return ways


def _ways(by_name: Mapping[str, Profile], roles: Mapping[Role, Guess], unit: str) -> dict[str, Any]:
    """Returns the ways to the columns that every log has: a path, or what `data.mapping` says."""
    ways = key_ways(roles)
    ways.setdefault(UNIT, {"constant": unit})
    time = roles[Role.TIME].column
    form = by_name[time].time
    ways[TIME] = path_of(time)
    if form is not None and form.format:
        ways[TIME] = {"from": path_of(time), "format": form.format}
    if Role.EVENT_TYPE in roles:
        ways[EVENT_TYPE] = path_of(roles[Role.EVENT_TYPE].column)
    return ways


@dataclass
class _Inputs:
    """Columns that the model may read and the ways to them, and those that it should not."""

    fields: list[Field] = field(default_factory=list)
    ways: dict[str, Any] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # by column


def _find_inputs(
    by_name: Mapping[str, Profile], roles: Mapping[Role, Guess], standard: Mapping[str, str]
) -> _Inputs:
    """Returns the columns besides those that every log has.

    Args:
        by_name: all columns.
        roles: which column is what.
        standard: standard names that columns get.
    """
    keys = {guess.column for role, guess in roles.items() if role in (*KEYS, Role.RUN)}
    taken = {*RESERVED, *DERIVED_STEPS, LEARNER, UNIT, TIME, AS_OF, EVENT_TYPE}
    found = _Inputs()
    for column, profile in by_name.items():
        if column in keys:
            continue
        name = standard.get(column) or input_name(column)
        reason = _no_input(profile)
        if not reason and (name in taken or name in found.ways):
            reason = f"its name, {name}, is taken"
        if reason:
            found.left[column] = reason
            continue
        kind, way = _way_of(profile)
        seen = f"{profile.distinct:,} different" if kind == "categorical" else ""
        found.fields.append(Field(name, kind, seen))
        found.ways[name] = way
        found.names[column] = name
    return found


def _no_input(profile: Profile) -> str:
    """Returns why a column should not be an input of a model; empty where it may be one."""
    name = profile.name
    time = profile.time
    if word := emotion_in(name):
        return f"infers an emotion ({word}), which the EU AI Act forbids in education"
    if match_name(name, Role.PROTECTED) == 1 and profile.distinct <= 200:
        return "protected: to compare groups by, not to predict from"
    if profile.looks_like_a_person or match_name(name, Role.PERSON) == 1:
        return "says who somebody is"
    if profile.filled < 0.01:
        return "hardly any values"
    if profile.distinct < 2:
        return "the same value in all rows"
    if match_name(name, Role.LEARNER) == 1:
        return "an id of learners"
    if time is not None and not time.is_number:
        return "another time"
    if (
        match_name(name, Role.LABEL) == 1
        and match_name(name, Role.SCORE) < 1
        and profile.answers is None
    ):
        return "named as an outcome: is it known when the event happens?"
    if profile.counts_rows:
        return "a number of its own in every row"
    if profile.numbers is None and (profile.looks_like_text or profile.distinct > MOST_VALUES):
        return "free text, or nearly all values different"
    return ""


def _way_of(profile: Profile) -> tuple[Kind, Any]:
    path = path_of(profile.name)
    written = {word.lower() for word in profile.words}
    if profile.answers is not None and not written <= {"0", "1", "true", "false"}:
        return "numeric", {"from": path, "values": profile.answers, "only_values": True}
    if profile.answers is not None:
        return "numeric", path
    is_code = profile.is_whole and _is_code(profile.name)
    return ("categorical" if profile.numbers is None or is_code else "numeric"), path


def _is_code(column: str) -> bool:
    last = in_one_spelling(column).split("_")[-1]
    return match_name(column, Role.COMPONENT) == 1 or last in ("id", "nr", "code")
