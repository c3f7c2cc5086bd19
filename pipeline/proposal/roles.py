"""Finds what each column of a table is about, by its name and by its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.proposal.profile import MAX_WORDS, Profile
from pipeline.proposal.words import Role, match_name

SURE = 0.75  # below this a choice is doubtful: it is asked about, or said in a comment
LEAST = 0.25

# The order in which roles choose among columns: those that values tell apart best come first.
_OF_EVENTS = (
    Role.TIME, Role.LEARNER, Role.CORRECT, Role.COMPLETED, Role.UNIT, Role.RUN, Role.EVENT_TYPE,
    Role.DWELL, Role.SPEED, Role.SCORE, Role.COMPONENT,
)  # fmt: skip
_OF_OUTCOMES = (Role.AS_OF, Role.LEARNER, Role.UNIT, Role.RUN, Role.LABEL)


@dataclass(frozen=True)
class Guess:
    """A column that is taken for a role.

    Attributes:
        column: its name in the file.
        sure: how sure that is, from 0 to 1.
        why: what it was judged by.
        others: further columns that could be it, the likeliest first.
    """

    column: str
    sure: float
    why: str
    others: tuple[str, ...] = ()


def roles_of_events(
    profiles: Sequence[Profile], given: Mapping[Role, str] | None = None
) -> dict[Role, Guess]:
    """Returns the columns of a table of events by their roles.

    Args:
        profiles: of its columns.
        given: those that the user named.
    """
    return _assign(profiles, _OF_EVENTS, given or {})


def roles_of_outcomes(
    profiles: Sequence[Profile], given: Mapping[Role, str] | None = None
) -> dict[Role, Guess]:
    """Returns the columns of a table of outcomes or grades by their roles."""
    return _assign(profiles, _OF_OUTCOMES, given or {})


def _assign(
    profiles: Sequence[Profile], roles: Iterable[Role], given: Mapping[Role, str]
) -> dict[Role, Guess]:
    found = {role: Guess(column, 1.0, "given") for role, column in given.items()}
    free = {profile.name: profile for profile in profiles if profile.name not in given.values()}
    for role in roles:
        if role in found:
            continue
        judged = sorted(
            ((judge(role, profile), -place) for place, profile in enumerate(free.values())),
            key=lambda item: (item[0].sure, item[1]),
            reverse=True,
        )
        guesses = [guess for guess, _ in judged if guess.sure >= LEAST]
        if guesses:
            best = guesses[0]
            others = tuple(other.column for other in guesses[1:3] if other.sure > best.sure / 2)
            close = len(guesses) > 1 and guesses[1].sure > best.sure - 0.1
            sure = min(best.sure, SURE - 0.05) if close else best.sure
            found[role] = Guess(best.column, sure, best.why, others)
            del free[best.column]
    return found


def judge(role: Role, profile: Profile) -> Guess:
    """Returns how sure it is that a column has a role."""
    name = match_name(profile.name, role)
    fit, seen = _FITS[role](profile)
    if not fit:
        return Guess(profile.name, 0.0, seen)
    if name:
        why = f"named so; {seen}" if name == 1 else f"part of its name; {seen}"
        return Guess(profile.name, 0.95 * (0.65 * name + 0.35 * fit), why)
    if role is Role.TIME and profile.time and profile.time.is_number and _is_key(profile.name):
        return Guess(profile.name, 0.0, "numbers of learners, units or tasks")
    by_values = 0.6 if role is Role.TIME else 0.35 if role in (Role.LEARNER, Role.EVENT_TYPE) else 0
    return Guess(profile.name, by_values * fit, f"by its values alone; {seen}")


def _is_key(name: str) -> bool:
    """Whether a column is named as what an event is about, so that its numbers are no clock."""
    return any(match_name(name, role) == 1 for role in (Role.LEARNER, Role.UNIT, Role.COMPONENT))


Fit = tuple[float, str]  # from 0, impossible, to 1; and what was seen


def _is_name(profile: Profile) -> bool:
    """Whether values could be ids or words: no fractions, no times, no sentences."""
    numbers, time = profile.numbers, profile.time
    is_stamp = time is not None and not time.is_number
    return profile.filled > 0.5 and not is_stamp and (numbers is None or profile.is_whole)


def _learner(profile: Profile) -> Fit:
    seen = f"{profile.distinct:,} different in {profile.rows:,} rows"
    if not _is_name(profile) or profile.distinct < 2 or profile.answers:
        return (0.3 if profile.distinct == 1 and profile.filled > 0.5 else 0.0), seen
    return (1.0 if profile.repeats >= 2 and profile.distinct > 10 else 0.6), seen


def _unit(profile: Profile) -> Fit:
    seen = f"{profile.distinct:,} different in {profile.rows:,} rows"
    if not _is_name(profile) or profile.repeats < 2:
        return 0.0, seen
    return (1.0 if profile.repeats >= 10 else 0.6), seen


def _time(profile: Profile) -> Fit:
    if profile.time is None or profile.filled < 0.5:
        return 0.0, "no times"
    if profile.time.is_number:
        is_counter = profile.is_whole and profile.distinct > 2
        return (0.5 if is_counter else 0.0), "numbers that count"
    written = f"times written as {profile.time.format}" if profile.time.format else "times"
    return 1.0, written


def _event_type(profile: Profile) -> Fit:
    seen = f"{profile.distinct:,} different words"
    if not _is_name(profile) or not 1 <= profile.distinct <= MAX_WORDS or profile.repeats < 5:
        return 0.0, seen
    return (0.4 if profile.numbers is not None else 1.0), seen


def _as_of(profile: Profile) -> Fit:
    if profile.time is None or (profile.time.is_number and not profile.is_whole):
        is_one = profile.distinct == 1 and profile.is_whole
        return (0.5, "the same number in all rows") if is_one else (0.0, "no times")
    return (0.5, "numbers that count") if profile.time.is_number else (1.0, "times")


def _component(profile: Profile) -> Fit:
    seen = f"{profile.distinct:,} different"
    if not _is_name(profile) or profile.repeats < 1.5:
        return 0.0, seen
    is_count = profile.numbers is not None and match_name(profile.name, Role.COMPONENT) < 1
    return (0.0 if is_count else 1.0), seen


def _yes_or_no(profile: Profile) -> Fit:
    if profile.answers is None:
        return 0.0, "not yes or no"
    return 1.0, f"only {', '.join(profile.words)}"


def _amount(profile: Profile) -> Fit:
    return (1.0, "numbers") if profile.numbers is not None else (0.0, "no numbers")


def _score(profile: Profile) -> Fit:
    if profile.numbers is None:
        return 0.0, "no numbers"
    highest = profile.quantile(1.0)
    return (1.0 if highest <= 1 else 0.7), f"numbers up to {highest:g}"


def _speed(profile: Profile) -> Fit:
    if profile.numbers is None or not 0 <= profile.quantile(0.5) <= 5:
        return 0.0, "no numbers around 1"
    return 1.0, "numbers around 1"


def _label(profile: Profile) -> Fit:
    seen = f"{profile.distinct:,} different"
    if profile.distinct < 2 or profile.filled < 0.5 or profile.looks_like_a_person:
        return 0.0, seen
    if profile.distinct <= 10:
        return 1.0, ", ".join(profile.words[:6])
    return (0.6, "numbers") if profile.numbers is not None else (0.0, seen)


_FITS: dict[Role, Callable[[Profile], Fit]] = {
    Role.LEARNER: _learner,
    Role.UNIT: _unit,
    Role.RUN: _unit,
    Role.TIME: _time,
    Role.AS_OF: _as_of,
    Role.EVENT_TYPE: _event_type,
    Role.COMPONENT: _component,
    Role.CORRECT: _yes_or_no,
    Role.COMPLETED: _yes_or_no,
    Role.DWELL: _amount,
    Role.SCORE: _score,
    Role.SPEED: _speed,
    Role.LABEL: _label,
}
