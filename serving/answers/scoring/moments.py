"""The moments that answers are wanted for: `now`, a time as the log writes it, or a row of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from components.errors import MasteryError
from components.event_log.clocks import Clock, to_clock
from components.event_log.log import read_moment

NOW = "now"
MOST = 1000  # moments of one call

_INTERVAL = re.compile(r"([1-9]\d{0,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Moment:
    """A moment that answers are wanted for.

    Attributes:
        as_of: in UTC.
        new_since: only learners with an event from then on, up to `as_of`, are asked about; None
            for all.
    """

    as_of: datetime
    new_since: datetime | None = None


def parse_moments(
    as_of: Sequence[str],
    timezone: str,
    *,
    every: str | None = None,
    since: str | None = None,
    now: datetime | None = None,
) -> list[datetime]:
    """Returns the moments that the options name, in order, each once.

    Args:
        as_of: `now`, or times as `mastery predict` reads them.
        timezone: of times without one.
        every: an interval such as `1d`, `12h` or `2w`: also the moments so far apart, back from the
            newest one.
        since: no moment before this.
        now: for tests.

    Raises:
        MasteryError: one is no time, or in the future; or there are too many of them.

    >>> [str(moment) for moment in parse_moments(
    ...     ["2026-03-02 06:00"], "UTC", every="1d", since="2026-03-01")]
    ['2026-03-01 06:00:00+00:00', '2026-03-02 06:00:00+00:00']
    """
    if (every is None) != (since is None):
        raise MasteryError("expected --every and --since together: how often, and from when on.")
    present = now or datetime.now(UTC)
    moments = {_parse(text, timezone, present) for text in as_of or [NOW]}

    if every is not None and since is not None:
        step, first = _interval(every), _parse(since, timezone, present)
        count = (max(moments) - first) // step + 1
        if count < 1:
            raise MasteryError(f"--since {since}: expected a time before --as-of.")
        if count > MOST:
            raise MasteryError(
                f"--every {every}: expected at most {MOST} moments, found {count:,}."
            )
        moments |= {max(moments) - number * step for number in range(count)}
    return sorted(moments)


def _parse(text: str, timezone: str, present: datetime) -> datetime:
    if text == NOW:
        return present.replace(microsecond=0)
    values = to_clock(read_moment(text, timezone).values, Clock.TIMESTAMP, timezone)
    moment = values.to_list()[0]
    if not isinstance(moment, datetime):
        raise MasteryError(
            f"as_of: expected `now` or a time such as 2026-03-02T06:00, found {text!r}."
        )
    if moment > present:
        raise MasteryError(f"as_of: expected a moment that is not in the future, found {text!r}.")
    return moment.astimezone(UTC)


def _interval(text: str) -> timedelta:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise MasteryError(f"--every: expected an interval such as 1d, 12h or 2w, found {text!r}.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
