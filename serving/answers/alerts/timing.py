"""Times of alerts as people write them: durations, capacities per week, quiet hours.

Days, weeks and hours are those of the wall clock in a time zone, with its changes to summer time
and back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo

Period = Literal["day", "week", "month"]
Zone = ZoneInfo | timezone

_DURATION = re.compile(r"(\d{1,4}) ?([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_CAPACITY = re.compile(r"(\d{1,6}) per (\w+)( and group)?")
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d) ?- ?([01]?\d|2[0-3]):([0-5]\d)")
_SATURDAY = 5
_MINUTE = timedelta(minutes=1)


def parse_duration(text: str) -> timedelta:
    """Returns a duration such as `14d`, `36h` or `2w`.

    >>> parse_duration("14d")
    datetime.timedelta(days=14)

    Raises:
        ValueError: it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected hours, days or weeks such as 36h, 14d or 2w, found {text!r}")
    return int(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True)
class Capacity:
    """How many learners may be told about in a period of the calendar.

    Attributes:
        per_group: whether each group has as many of its own.
    """

    learners: int
    period: Period
    per_group: bool

    @classmethod
    def parse(cls, text: str) -> Capacity:
        """Returns a capacity such as `20 per week` or `5 per day and group`.

        >>> Capacity.parse("5 per day and group")
        Capacity(learners=5, period='day', per_group=True)

        Raises:
            ValueError: it is none.
        """
        match = _CAPACITY.fullmatch(" ".join(text.split()))
        if match is None or match[2] not in get_args(Period) or int(match[1]) == 0:
            raise ValueError(
                "expected a number per day, week or month, such as 20 per week, or 20 per week "
                f"and group; found {text!r}"
            )
        return cls(int(match[1]), cast("Period", match[2]), match[3] is not None)


def period_around(moment: datetime, period: Period, zone: Zone) -> tuple[datetime, datetime]:
    """Returns when the day, the week (from Monday) or the month of a moment begins and ends.

    >>> begin, end = period_around(datetime(2026, 3, 4, tzinfo=UTC), "week", UTC)
    >>> begin.date().isoformat(), end.date().isoformat()
    ('2026-03-02', '2026-03-09')
    """
    today = moment.astimezone(zone).date()
    if period == "day":
        first, next_first = today, today + timedelta(days=1)
    elif period == "week":
        first = today - timedelta(days=today.weekday())
        next_first = first + timedelta(weeks=1)
    else:
        first = today.replace(day=1)
        next_first = (first + timedelta(days=31)).replace(day=1)
    return _midnight(first, zone), _midnight(next_first, zone)


def _midnight(day: date, zone: Zone) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


@dataclass(frozen=True)
class QuietTimes:
    """When nobody is told.

    Attributes:
        begin: of the quiet hours, on the wall clock; they may last past midnight. None for none.
        end: of the quiet hours; the first minute in which somebody may be told again.
        weekends: whether Saturdays and Sundays are quiet.
        zone: of the wall clock.
    """

    begin: time | None
    end: time | None
    weekends: bool
    zone: Zone

    def hold(self, moment: datetime) -> datetime:
        """Returns the first moment from this one on that is not quiet.

        It looks at the wall clock minute by minute, so an hour that a day has twice or not at all
        needs no rule of its own.

        >>> night = QuietTimes(time(20), time(7), False, UTC)
        >>> night.hold(datetime(2026, 3, 2, 23, 30, tzinfo=UTC)).isoformat()
        '2026-03-03T07:00:00+00:00'
        """
        held = moment.astimezone(UTC)
        while self._is_quiet(held.astimezone(self.zone)):
            held = held.replace(second=0, microsecond=0) + _MINUTE
        return held

    def _is_quiet(self, local: datetime) -> bool:
        if self.weekends and local.weekday() >= _SATURDAY:
            return True
        if self.begin is None or self.end is None:
            return False
        clock = local.time()
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end


def parse_hours(text: str) -> tuple[time, time]:
    """Returns begin and end of quiet hours such as `20:00-07:00`.

    Raises:
        ValueError: they are none, or last the whole day.
    """
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected hours such as 20:00-07:00, found {text!r}")
    begin, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    if begin == end:
        raise ValueError(f"expected hours that end, found {text!r}; nobody would ever be told")
    return begin, end
