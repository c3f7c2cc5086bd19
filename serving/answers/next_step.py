"""What a learner could do next: units of low mastery first, each after the units it builds on.

The order is computed, not learnt. A unit that is not mastered counts with its `need`: what full
mastery of it would add in expectation, on the way from the lowest class to the highest (see
`serving.answers.need`). A unit that others build on counts with the greatest need among itself
and them, because that need can only be met after it. Answers from the learner's own events come
before those that rest on too few of them, and both before units without an answer.

What the need is not: the effect of doing the unit. No experiment has measured how much an hour in
a unit changes; the model has only learnt what goes with mastery. So a step is something that could
be worth doing, with the facts that it rests on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heapify, heappop, heappush
from typing import Protocol, TypeVar

NEARLY_HIGHEST = 0.25
"""A need below this counts as mastered where answers are numbers, without classes."""

Urgency = tuple[int, float]
_NO_ANSWER: Urgency = (0, 0.0)


@dataclass(frozen=True)
class Standing:
    """Where a learner stands in a unit.

    Attributes:
        unit_id: the unit.
        need: of the newest answer, 0 to 1; None without an answer.
        mastered: whether that answer is the highest class.
        from_events: whether it rests on the learner's events, not on too few of them.
        prerequisites: units to master before this one.
    """

    unit_id: str
    need: float | None = None
    mastered: bool = False
    from_events: bool = True
    prerequisites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A unit that could be worth doing next.

    Attributes:
        unit_id: the unit.
        gain: what full mastery would add in expectation, 0 to 1; None without an answer.
        after: prerequisites that are not mastered; they are steps before this one.
        opens: later steps that this unit is a prerequisite of.
        circular: prerequisites that in turn build on this unit, so that no order follows.
    """

    unit_id: str
    gain: float | None
    after: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()
    circular: tuple[str, ...] = ()


class Result(Protocol):
    """How a learner did in a knowledge component."""

    component: str
    answered: int
    correct: int
    mastery: float


SomeResult = TypeVar("SomeResult", bound=Result)


def next_steps(standings: Iterable[Standing]) -> list[Step]:
    """Returns the units that could be worth doing, the most urgent first.

    These are the units with an answer that are not mastered, what they build on, and units without
    an answer whose prerequisites are all mastered. A prerequisite that is not mastered always comes
    before the units that build on it; units that build on each other in a circle are ordered as
    if they did not.

    Args:
        standings: each unit once, in any order. A prerequisite that is missing has no answer.

    >>> steps = next_steps([
    ...     Standing("fractions", need=0.9, prerequisites=("division",)),
    ...     Standing("division", need=0.3),
    ...     Standing("angles", need=0.6),
    ... ])
    >>> [step.unit_id for step in steps]
    ['division', 'fractions', 'angles']
    >>> steps[0].opens, steps[1].after
    (('fractions',), ('division',))
    """
    units = {standing.unit_id: standing for standing in standings}
    proposed = _proposed(units)
    builds_on = {
        unit: {before for before in units[unit].prerequisites if before in proposed}
        for unit in proposed
    }

    circular = _circular(builds_on)
    waits_for = {unit: builds_on[unit] - circular[unit] for unit in proposed}
    opens: dict[str, list[str]] = {unit: [] for unit in proposed}
    for unit in sorted(proposed):
        for before in waits_for[unit]:
            opens[before].append(unit)

    return [
        Step(
            unit_id=unit,
            gain=units[unit].need,
            after=tuple(sorted(waits_for[unit])),
            opens=tuple(opens[unit]),
            circular=tuple(sorted(circular[unit])),
        )
        for unit in _ordered(waits_for, {unit: _urgency(units[unit]) for unit in proposed})
    ]


def weakest_first(results: Iterable[SomeResult]) -> list[SomeResult]:
    """Returns the components in which there is something to gain, the lowest mastery first.

    Components without a wrong answer are left out; of equal ones, the one with more answers, which
    is the better known, comes first.
    """
    return sorted(
        (result for result in results if result.correct < result.answered),
        key=lambda result: (result.mastery, -result.answered, result.component),
    )


def _proposed(units: dict[str, Standing]) -> set[str]:
    """Returns the units to propose; adds the prerequisites that are missing to `units`."""
    waiting = [unit for unit, standing in units.items() if _is_open(standing, units)]
    proposed: set[str] = set()
    while waiting:
        unit = waiting.pop()
        standing = units.setdefault(unit, Standing(unit))
        if unit not in proposed and not standing.mastered:
            proposed.add(unit)
            waiting += standing.prerequisites
    return proposed


def _is_open(standing: Standing, units: Mapping[str, Standing]) -> bool:
    """Returns whether a unit is proposed for its own sake, not because another builds on it."""
    if standing.mastered:
        return False
    if standing.need is not None:
        return True
    before = standing.prerequisites
    return bool(before) and all(unit in units and units[unit].mastered for unit in before)


def _urgency(standing: Standing) -> Urgency:
    if standing.need is None:
        return _NO_ANSWER
    return (2 if standing.from_events else 1, standing.need)


def _circular(builds_on: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Returns, by unit, those of its prerequisites that build on it, directly or not."""
    reached = {unit: _reachable(builds_on, unit) for unit in builds_on}
    return {
        unit: {before for before in prerequisites if unit in reached[before]}
        for unit, prerequisites in builds_on.items()
    }


def _reachable(builds_on: Mapping[str, Collection[str]], start: str) -> set[str]:
    """Returns the units that one builds on; itself, too, if they form a circle."""
    reached: set[str] = set()
    waiting = list(builds_on[start])
    while waiting:
        unit = waiting.pop()
        if unit not in reached:
            reached.add(unit)
            waiting += builds_on[unit]
    return reached


def _ordered(waits_for: Mapping[str, set[str]], own: Mapping[str, Urgency]) -> list[str]:
    """Returns the units so that each comes after those it waits for, the most urgent first."""
    urgency = dict(own)
    for unit in reversed(list(TopologicalSorter(waits_for).static_order())):
        for before in waits_for[unit]:
            urgency[before] = max(urgency[before], urgency[unit])

    def place(unit: str) -> tuple[int, float, int, float, str]:
        (rank, need), (own_rank, own_need) = urgency[unit], own[unit]
        return (-rank, -need, -own_rank, -own_need, unit)

    order = []
    sorter = TopologicalSorter(waits_for)
    sorter.prepare()
    ready = [place(unit) for unit in sorter.get_ready()]
    heapify(ready)
    while ready:
        unit = heappop(ready)[-1]
        order.append(unit)
        sorter.done(unit)
        for freed in sorter.get_ready():
            heappush(ready, place(freed))
    return order
