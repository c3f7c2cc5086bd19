"""Derives outcomes one question at a time, in plain Python, from the words of the documentation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

LEARNERS = ("ann", "bob", "cleo")
UNITS = ("algebra", "logic")


@dataclass(frozen=True)
class Event:
    """One event; its time is a number of days, or of the log's own clock."""

    learner: str
    unit: str
    time: int
    type: str
    correct: float | None
    completed: float | None
    score: float | None


@dataclass
class Rules:
    """How outcomes are derived, with numbers in place of durations and dates."""

    derive: str
    at: list[int]
    after: str
    window: int | None
    until: int | None
    next: int = 2
    cuts: list[float] = field(default_factory=list)
    event_types: list[str] = field(default_factory=list)
    min_score: float | None = None
    grades: dict[tuple[str, str | None], float | None] | None = None


Outcome = tuple[str, str, int, Any]  # learner, unit, moment, label


def derive(
    events: list[Event], rules: Rules, classes: list[str]
) -> tuple[list[Outcome], Counter[str]]:
    """Returns the outcomes, and how many questions have none, by the reason."""
    end = max(event.time for event in events) if rules.until is None else rules.until
    found, none = [], Counter[str]()
    for learner, unit in sorted({(event.learner, event.unit) for event in events}):
        mine = [event for event in events if (event.learner, event.unit) == (learner, unit)]
        mine.sort(key=lambda event: event.time)  # stable: ties keep the order of the log
        for offset in rules.at:
            as_of = _moment(offset, learner, unit, events, rules)
            label, reason = _answer(mine, as_of, end, rules, (learner, unit), classes)
            if reason:
                none[reason] += 1
            else:
                found.append((learner, unit, as_of, label))
    return found, none


def _moment(offset: int, learner: str, unit: str, events: list[Event], rules: Rules) -> int:
    if rules.after == "clock":
        return offset
    of_unit = [event for event in events if event.unit == unit]
    if rules.after == "learner":
        of_unit = [event for event in of_unit if event.learner == learner]
    return min(event.time for event in of_unit) + offset


def _answer(
    mine: list[Event],
    as_of: int,
    end: int,
    rules: Rules,
    key: tuple[str, str],
    classes: list[str],
) -> tuple[Any, str]:
    before = [event for event in mine if event.time < as_of]
    if not before:
        return None, "no event before the moment"
    if rules.window is None:
        is_over = as_of < end
        later = [event for event in mine if event.time >= as_of]
        if rules.until is not None:
            later = [event for event in later if event.time < rules.until]
    else:
        is_over = as_of + rules.window <= end
        later = [event for event in mine if as_of <= event.time < as_of + rules.window]
    if not is_over:
        return None, "window not over when the log ended"

    if rules.grades is not None:
        grade = rules.grades.get(key, rules.grades.get((key[0], None)))
        return (None, "no grade") if grade is None else (_cut(grade, rules, classes), "")

    counting = rules.event_types or ["quiz", "video", "exam"]
    before = [event for event in before if event.type in counting]
    later = [event for event in later if event.type in counting]
    if rules.derive == "inactivity":
        return classes[1 if later else 0], ""
    if rules.derive in ("completion", "passed"):
        if any(_decides(event, rules) for event in before):
            return None, "already decided before the moment"
        return classes[1 if any(_decides(event, rules) for event in later) else 0], ""
    if rules.derive == "next_answers":
        answers = [event.correct for event in later if event.correct is not None][: rules.next]
        if len(answers) < rules.next:
            return None, "too few answers"
        return _cut(sum(answer >= 0.5 for answer in answers), rules, classes), ""
    scores = [event.score for event in later if event.score is not None]
    if scores:
        return _cut(scores[-1], rules, classes), ""
    was_scored = any(event.score is not None for event in before)
    return None, "already decided before the moment" if was_scored else "no grade"


def _decides(event: Event, rules: Rules) -> bool:
    if rules.derive == "completion":
        return bool(rules.event_types) or (event.completed or 0) >= 0.5
    if rules.min_score is None:
        return True
    return event.score is not None and event.score >= rules.min_score


def _cut(number: float, rules: Rules, classes: list[str]) -> Any:
    if not classes:
        return float(number)
    return classes[sum(number >= cut for cut in rules.cuts)]
