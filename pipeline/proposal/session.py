"""The way from a path to a proposal: looks, asks what is doubtful, reads the log, proposes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from components.command.suggest import did_you_mean
from components.config.data import check_timezone
from components.contracts.names import LEARNER, TIME, UNIT
from components.errors import MasteryError
from components.event_log.problems import SHOWN_COLUMNS
from components.platforms.formats import FORMATS, PLATFORMS, STANDARD, mapping_of
from pipeline.proposal.derivations import DERIVATIONS, choose_derivation
from pipeline.proposal.overview import Overview, read_events, read_outcomes
from pipeline.proposal.propose import Proposal, propose
from pipeline.proposal.reading import ANSWERS, Field, Kind, Reading, read_table_of
from pipeline.proposal.roles import SURE, Guess, roles_of_events
from pipeline.proposal.tables import (
    OutcomeTable,
    find_tables,
    profiles_of,
    require_columns,
)
from pipeline.proposal.target import Target, sort_columns, target_in
from pipeline.proposal.words import Role, in_one_spelling

if TYPE_CHECKING:
    from pipeline.proposal.look import Look
    from pipeline.proposal.recognise import Recognised

FEWEST_LEARNERS = 2
KEYS = (LEARNER, UNIT, TIME)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
# Names of files that say nothing about a log.
_NO_NAME = re.compile(r"(events?|log|data|part|statements?|tracking|logstore|export)([-_\d].*)?")
_QUESTIONS = {
    Role.LEARNER: "Which column is the learner?",
    Role.TIME: "Which column is the time?",
    Role.UNIT: "What is mastery judged for?",
}
STANDARD_KINDS: dict[str, Kind] = {
    "event_type": "categorical",
    "component": "categorical",
    "dwell_seconds": "numeric",
    "correct": "numeric",
    "score": "numeric",
    "completed": "numeric",
    "playback_speed": "numeric",
}


@dataclass(frozen=True)
class Wishes:
    """What the user said, by flags; whatever is empty is found out or asked.

    Attributes:
        events: files, folders or patterns.
        outcomes: the same for a table of outcomes or grades.
        out: the configuration to write.
        name: of the pipeline and the model.
        format: who wrote the events.
        roles: columns by their roles.
        label: the column of outcomes to predict.
        outcome: how outcomes are derived; empty for a given table, or what the log allows.
        timezone: of times without one.
    """

    events: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    out: Path | None = None
    name: str = ""
    format: str = ""
    roles: Mapping[Role, str] = field(default_factory=dict)
    label: str = ""
    outcome: str = ""
    timezone: str = "UTC"

    def check(self) -> None:
        """Checks what can be checked before anything is read.

        Raises:
            MasteryError: a flag has a value that it cannot have.
        """
        known = {"--format": (self.format, FORMATS), "--outcome": (self.outcome, DERIVATIONS)}
        for flag, (value, choices) in known.items():
            if value and value not in choices:
                hint = did_you_mean(value, choices) or "."
                raise MasteryError(
                    f"{flag}: expected one of {', '.join(choices)}, found {value!r}{hint}"
                )
        if self.name:
            _require_name(self.name)
        try:
            check_timezone(self.timezone)
        except ValueError as error:
            raise MasteryError(f"--timezone: {error}.") from None


class Asker(Protocol):
    """Somebody who answers questions, or takes every default."""

    def ask(self, question: str, default: str, choices: Sequence[str] = ()) -> str:
        """Returns the answer; one of the choices, if there are any."""
        ...


def make_proposal(
    wishes: Wishes, asker: Asker, say: Callable[[str], None]
) -> tuple[Proposal, Path]:
    """Returns a proposal, and the path of the configuration it is for.

    Args:
        wishes: what the user said.
        asker: asked about what is doubtful.
        say: shows a line on what was found.

    Raises:
        MasteryError: no proposal can be made; the text says what to do.
    """
    wishes.check()
    patterns = wishes.events
    if not patterns:
        answer = asker.ask("Where is the log (a file, a folder or a pattern)?", "")
        if not answer:
            raise MasteryError("Expected the path of a log, found none: mastery init LOG.")
        patterns = (answer,)

    tables = find_tables(patterns, wishes.outcomes, format=wishes.format, label=wishes.label)
    events, found, outcomes = tables.events, tables.format, tables.outcomes
    say(f"events    {_describe(events)}")
    say(f"format    {found.format}" + (f": {found.why}" if found.why else ""))
    for path in tables.unread:
        say(f"not read  {path}: the log tells of it too")
    for path, other in tables.foreign:
        say(f"not read  {path}: it is of {other}, which needs a configuration of its own")
    if outcomes is not None:
        say(f"outcomes  {_describe(outcomes.look)}")

    reading = _reading_of(events, found, wishes, asker, outcomes)
    overview = read_events(reading)
    _require_learners(overview, events)
    target = _target_of(outcomes, overview, reading, wishes, asker, say)

    name = wishes.name or asker.ask("What shall the model be called?", _name_of(events))
    _require_name(name)
    out = wishes.out or Path(f"{name}.yaml")
    _relative(reading, target, out.resolve().parent)
    return propose(name, f"{out.stem}.pbtxt", reading, overview, target), out


def _reading_of(
    look: Look,
    found: Recognised,
    wishes: Wishes,
    asker: Asker,
    outcomes: OutcomeTable | None,
) -> Reading:
    if found.format != STANDARD:
        return _reading_of_platform(look, found, wishes)

    profiles = profiles_of(look)
    require_columns(look, wishes.roles.values())
    roles = roles_of_events(profiles, wishes.roles)
    columns = [profile.name for profile in profiles]
    for role, question in _QUESTIONS.items():
        guess = roles.get(role)
        if guess is None or role in wishes.roles:
            continue
        choices = columns if guess.sure < SURE else [guess.column, *guess.others]
        chosen = asker.ask(f"{question} ({guess.why})", guess.column, choices)
        if chosen != guess.column:
            roles = roles_of_events(profiles, {**_named(roles, wishes), role: chosen})
    _require_roles(look, roles)
    of_outcomes = outcomes.names if outcomes is not None and outcomes.says_when else None
    reading = read_table_of(look, profiles, roles, of_outcomes, unit=_name_of(look))
    return replace(reading, timezone=wishes.timezone)


def _require_roles(look: Look, roles: Mapping[Role, Guess]) -> None:
    needed = ((Role.LEARNER, "ids of learners", "--learner"), (Role.TIME, "times", "--time"))
    for role, what, flag in needed:
        if role not in roles:
            raise MasteryError(
                f"{look.files[0].path}: expected a column of {what}, found "
                f"{', '.join(look.frame.columns[:SHOWN_COLUMNS])}; name it with {flag} COLUMN. If "
                f"a platform wrote the log, say which with --format ({', '.join(PLATFORMS)})."
            )


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise MasteryError(f"--name: expected lower-case letters, digits, - and _, found {name!r}.")


def _named(roles: Mapping[Role, Guess], wishes: Wishes) -> dict[Role, str]:
    """Returns the columns that the user has named so far, by flags or answers."""
    answered = {role: guess.column for role, guess in roles.items() if guess.sure == 1}
    return {**wishes.roles, **answered}


def _reading_of_platform(look: Look, found: Recognised, wishes: Wishes) -> Reading:
    """Returns how a platform's log is read: as its format's mapping says, or the user's paths."""
    names = [name for name in mapping_of(found.format).column_names if name not in KEYS]
    kinds = {name: STANDARD_KINDS[name] for name in names if name in STANDARD_KINDS}
    return Reading(
        look,
        found.format,
        found.why,
        fields=[Field(name, kind) for name, kind in kinds.items()],
        answers={role: role.value for role in ANSWERS if role in names},
        left={name: "not a standard column" for name in names if name not in kinds},
        mapping={role.value: path for role, path in wishes.roles.items()},
        timezone=wishes.timezone,
    )


def _require_learners(overview: Overview, look: Look) -> None:
    learners = overview.events[LEARNER].n_unique()
    if learners < FEWEST_LEARNERS:
        raise MasteryError(
            f"{look.files[0].path}: expected events of several learners, found one "
            f"({overview.events[LEARNER][0]}); name the column of their ids with --learner, or a "
            "log of all learners."
        )


def _target_of(
    outcomes: OutcomeTable | None,
    overview: Overview,
    reading: Reading,
    wishes: Wishes,
    asker: Asker,
    say: Callable[[str], None],
) -> Target:
    if outcomes is not None and outcomes.says_when and not wishes.outcome:
        return _given_target(outcomes, overview, reading, asker)
    choice = choose_derivation(overview, reading, outcomes, wishes.outcome)
    for reason in choice.failed:
        say(f"no outcome by {reason}")
    wanted = wishes.outcome
    if len(choice.targets) > 1 and not wanted:
        wanted = asker.ask("What is predicted?", next(iter(choice.targets)), [*choice.targets])
    target = choice.target(wanted)
    if outcomes is not None and "table" in target.outcomes:
        sort_columns(outcomes.profiles, outcomes.roles, target)
    return target


def _given_target(
    outcomes: OutcomeTable, overview: Overview, reading: Reading, asker: Asker
) -> Target:
    target = target_in(outcomes.look, outcomes.profiles, outcomes.roles)
    others = outcomes.roles[Role.LABEL].others
    chosen = asker.ask("What is predicted?", target.column, [target.column, *others])
    if chosen != target.column:
        roles = {**outcomes.roles, Role.LABEL: Guess(chosen, 1.0, "given")}
        target = target_in(outcomes.look, outcomes.profiles, roles)
    rows, clock = read_outcomes(outcomes.look, outcomes.names, target.column, reading.timezone)
    if clock is not overview.clock:
        raise MasteryError(
            f"Expected one clock in both tables, found {overview.clock} in {TIME} and {clock} in "
            "as_of; name other columns with --time, or another table with --outcomes."
        )
    target.rows = overview.sample.of(rows.drop_nulls(target.column))
    return target


def _describe(look: Look) -> str:
    many = f" and {len(look.files) - 1:,} more" if len(look.files) > 1 else ""
    dialect = look.dialect
    written = (
        "" if dialect.is_plain else f", {dialect.delimiter!r} between fields, {dialect.encoding}"
    )
    return f"{look.files[0].path}{many}: {look.kind}{written}, {look.bytes / 1e6:,.1f} MB"


def _name_of(look: Look) -> str:
    """Returns a name from the path: of the folder, unless the file has a telling one."""
    path = Path(look.files[0].path).resolve()
    stem = path.name.split(".")[0]
    if len(look.files) > 1 or _NO_NAME.fullmatch(stem.lower()):
        stem = path.parent.name
    plain = re.sub(r"[^a-z0-9]+", "-", in_one_spelling(stem).replace("_", "-")).strip("-")
    return plain[:40] if plain and plain[0].isalpha() else "my-log"


def _relative(reading: Reading, target: Target, folder: Path) -> None:
    """Makes paths count from the folder of the configuration."""
    reading.look = replace(
        reading.look, patterns=tuple(_from(path, folder) for path in reading.look.patterns)
    )
    if isinstance(target.outcomes, str):
        target.outcomes = _from(target.outcomes, folder)
    elif isinstance(target.outcomes, list):
        target.outcomes = [_from(path, folder) for path in target.outcomes]
    elif "table" in target.outcomes:
        table = target.outcomes["table"]
        paths = [table] if isinstance(table, str) else table
        found = [_from(path, folder) for path in paths]
        target.outcomes = {**target.outcomes, "table": found[0] if len(found) == 1 else found}


def _from(path: str, folder: Path) -> str:
    if "://" in path:
        return path
    return os.path.relpath(Path(path).expanduser().absolute(), folder)
