"""Usual cron expressions of five fields, checked and turned into the six that Kubeflow Pipelines reads.

Kubeflow parses with version 1 of github.com/robfig/cron: the first field is the second, the last may be left
out, and Sunday is 0 only. A usual `0 3 * * *` is therefore valid there, but means the third minute of *every* hour.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from components.errors import MasteryError

EXAMPLE = 'such as "0 3 * * *", every day at 03:00'
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {
    name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
}
_ITEM = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
_DAY = 24 * 60  # minutes


@dataclass(frozen=True)
class _Bounds:
    """What one field may hold."""

    name: str
    first: int
    last: int
    names: dict[str, int]

    @property
    def all(self) -> frozenset[int]:
        return frozenset(range(self.first, self.last + 1))


_FIELDS = (
    _Bounds("minute", 0, 59, {}),
    _Bounds("hour", 0, 23, {}),
    _Bounds("day of month", 1, 31, {}),
    _Bounds("month", 1, 12, _MONTHS),
    _Bounds("day of week", 0, 7, _DAYS),
)


@dataclass(frozen=True)
class KubeflowCron:
    """A schedule as Kubeflow Pipelines reads it.

    Attributes:
        expression: six fields, the first of them the second.
        shifts_on: first day on which the same expression means another local time, because clocks change; or None.
    """

    expression: str
    shifts_on: date | None = None


def convert_cron(expression: str, *, zone: str, cluster_zone: str, now: datetime) -> KubeflowCron:
    """Turns a usual cron expression into Kubeflow's.

    Args:
        expression: minute, hour, day of month, month, day of week; names such as MON, lists, ranges and steps work.
        zone: the time zone that `expression` is meant in.
        cluster_zone: the time zone in which the cluster reads cron expressions.
        now: the moment, with a time zone, whose offset between the two zones is used.

    Raises:
        MasteryError: the expression is not valid, would never come, or cannot be said in the cluster's time zone.
    """
    texts = expression.split()
    if len(texts) != len(_FIELDS):
        names = ", ".join(bounds.name for bounds in _FIELDS)
        raise MasteryError(
            f"--cron: expected five fields ({names}), {EXAMPLE}; found {len(texts)} in {expression!r}."
        )
    fields = [_parse(text, bounds) for text, bounds in zip(texts, _FIELDS, strict=True)]
    days, months, weekdays = fields[2:]
    if texts[4] == "*" and not any(
        min(days) <= calendar.monthrange(2024, month)[1] for month in months
    ):
        raise MasteryError(f"--cron: {expression!r} never comes: no such day in these months.")
    texts[4] = _text(weekdays, texts[4], _FIELDS[4])
    shift = _shift(now, zone, cluster_zone)
    if shift:
        texts = _shifted(expression, texts, fields, shift, cluster_zone)
    return KubeflowCron(" ".join(["0", *texts]), _next_change(now, zone, cluster_zone))


def _next_change(now: datetime, zone: str, cluster_zone: str) -> date | None:
    """Returns the day within a year of `now` on which the two zones' clocks drift apart or together, if any."""
    shift = _shift(now, zone, cluster_zone)
    for ahead in range(1, 367):
        day = now + timedelta(days=ahead)
        if _shift(day, zone, cluster_zone) != shift:
            hours = (day - timedelta(hours=before) for before in range(24, -1, -1))
            return (
                next(hour for hour in hours if _shift(hour, zone, cluster_zone) != shift)
                .astimezone(_zone(zone))
                .date()
            )
    return None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise MasteryError(
            f"--timezone: expected a time zone such as Europe/Zurich, found {name!r}."
        ) from None


def _parse(text: str, bounds: _Bounds) -> frozenset[int]:
    """Returns the values that a field stands for; Sunday is 0."""
    values: set[int] = set()
    for item in text.split(","):
        found = _ITEM.fullmatch(item)
        if not found or (found[3] and found[1] and not found[2]):
            raise _wrong(text, bounds)
        first, last, step = found.groups()
        start = _number(first, text, bounds) if first else bounds.first
        end = _number(last, text, bounds) if last else (start if first else bounds.last)
        if start > end or int(step or 1) == 0:
            raise _wrong(text, bounds)
        values.update(range(start, end + 1, int(step or 1)))
    return frozenset(0 if bounds.names is _DAYS and value == 7 else value for value in values)


def _number(text: str, field: str, bounds: _Bounds) -> int:
    value = bounds.names.get(text.upper(), int(text) if text.isdecimal() else -1)
    if not bounds.first <= value <= bounds.last:
        raise _wrong(field, bounds)
    return value


def _wrong(text: str, bounds: _Bounds) -> MasteryError:
    names = f" or {next(iter(bounds.names))} to {list(bounds.names)[-1]}" if bounds.names else ""
    return MasteryError(
        f"--cron: {bounds.name}: expected {bounds.first} to {bounds.last}{names}, "
        f"or *, a list (1,2), a range (1-5) or steps (*/2); found {text!r}."
    )


def _text(values: frozenset[int], before: str, bounds: _Bounds) -> str:
    """Returns a field that stands for `values`: as it was written, unless that means something else to Kubeflow."""
    if before == "*" or (bounds.names is not _DAYS and values == _parse(before, bounds)):
        return before
    full = bounds.all - {7} if bounds.names is _DAYS else bounds.all
    return "*" if values == full else ",".join(str(value) for value in sorted(values))


def _shift(moment: datetime, zone: str, cluster_zone: str) -> int:
    """Returns the minutes to add to a time of `zone` to get that of the cluster."""
    here, there = (
        moment.astimezone(_zone(zone)).utcoffset(),
        moment.astimezone(_zone(cluster_zone)).utcoffset(),
    )
    assert here is not None
    assert there is not None
    return int((there - here).total_seconds() // 60)


def _shifted(
    expression: str, texts: list[str], fields: list[frozenset[int]], shift: int, cluster_zone: str
) -> list[str]:
    """Moves minutes, hours and, where midnight lies between, days of the week."""
    minutes, hours, _, _, weekdays = fields
    times = [hour * 60 + minute + shift for hour in hours for minute in minutes]
    moved = {time % _DAY for time in times}
    new_hours, new_minutes = (
        frozenset(time // 60 for time in moved),
        frozenset(time % 60 for time in moved),
    )
    days = {time // _DAY for time in times}
    every_day = texts[2:] == ["*", "*", "*"]
    one_week = len(days) == 1 and texts[2:4] == ["*", "*"]
    if len(new_hours) * len(new_minutes) != len(moved) or not (
        every_day or days == {0} or one_week
    ):
        raise MasteryError(
            f"--cron: {expression!r} cannot be said in {cluster_zone}, the cluster's time zone, in one expression. "
            f"Give it in {cluster_zone}, without --timezone."
        )
    new_days = frozenset((day + min(days)) % 7 for day in weekdays)
    return [
        _text(new_minutes, texts[0], _FIELDS[0]),
        _text(new_hours, texts[1], _FIELDS[1]),
        *texts[2:4],
        texts[4] if every_day else _text(new_days, texts[4], _FIELDS[4]),
    ]
