"""The moments at which outcomes are derived, and the end of the log, on the log's own clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from components.config.outcomes import DerivedOutcomes, kind_of, parse_moment
from components.contracts.names import TIME
from components.event_log.clocks import Clock, read_clock
from components.event_log.problems import Problem
from components.event_log.timescales import EPOCHS, are_dates, extent, scales_of

if TYPE_CHECKING:
    from components.config.outcomes import Moment
    from components.event_log.tally import Tally

Numbers = npt.NDArray[Any]  # int64 or float64
Number = int | float

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Moments:
    """When is asked, and until when events count; timestamps in microseconds.

    Attributes:
        offsets: after the start of the learner or unit, or moments themselves.
        after: `learner`, `unit` or `clock`, which is for moments themselves.
        window: how long is waited for an answer; None until the log ends.
        end: when the log ends.
        end_counts: whether events at the end itself are in the log: they are if it is the last
            event's time.
        clock: the log's clock.
    """

    offsets: list[Number]
    after: str
    window: Number | None
    end: Number
    end_counts: bool
    clock: Clock

    @property
    def count(self) -> int:
        """Number of moments."""
        return len(self.offsets)

    @property
    def _dtype(self) -> type[np.float64] | type[np.int64]:
        return np.float64 if self.clock is Clock.FLOAT else np.int64

    def as_of(
        self, start: Numbers, units: pl.Series, pair: Numbers, moment: Numbers, read: Tally
    ) -> Numbers:
        """Returns the moment of each question, `[Q]`.

        Args:
            start: first event of the learner in the unit, `[Q]`.
            units: the unit of each pair of learner and unit, `[P]`.
            pair: the pair of each question, `[Q]`.
            moment: which of the moments it is, `[Q]`.
            read: the counts of reading the whole log, with the starts of units.
        """
        offsets = np.array(self.offsets, self._dtype)[moment]
        if self.after == "clock":
            return offsets
        if self.after == "unit":
            starts = [read.unit_starts[unit].on(self.clock) for unit in units]
            start = np.array(starts, self._dtype)[pair]
        return np.asarray(start + offsets)

    def stop(self, as_of: Numbers) -> Numbers | None:
        """Returns the end of each window, which is not in it; None where all later events count."""
        if self.window is not None:
            return np.asarray(as_of + self._dtype(self.window))
        return None if self.end_counts else np.full_like(as_of, self.end)

    def is_over(self, as_of: Numbers) -> npt.NDArray[np.bool_]:
        """Returns which windows were over when the log ended."""
        if self.window is None:
            return np.asarray(as_of < self.end)
        return np.asarray(as_of + self._dtype(self.window) <= self.end)


def find_moments(
    derived: DerivedOutcomes, clock: Clock, read: Tally, timezone: str
) -> tuple[Moments | None, list[Problem]]:
    """Returns the moments on the log's clock; None, with the problems, where it has no such times.

    Args:
        derived: how outcomes are derived.
        clock: of the log.
        read: the counts of reading the whole log: its scale and its last event.
        timezone: of dates.
    """
    on_clock = _OnClock(clock, units_per_second(read), timezone)
    moments = derived.moments
    offsets = [
        on_clock.read("at", item, text) for item, text in zip(moments, derived.at, strict=True)
    ]
    window = None
    if derived.window is not None:
        window = on_clock.read("window", parse_moment(derived.window), derived.window)
    end = None
    if derived.until is not None:
        end = on_clock.read("until", parse_moment(derived.until), derived.until)
    else:
        times = extent(read.clocks[TIME], clock)
        assert times is not None, "judge_reading refuses a log without events"
        end = times[1] if clock is Clock.FLOAT else int(times[1])

    if on_clock.problems:
        return None, on_clock.problems
    after = "clock" if kind_of(moments[0]) == "dates" else derived.after
    assert end is not None, "without a problem everything was read"
    found = [offset for offset in offsets if offset is not None]
    return Moments(found, after, window, end, derived.until is None, clock), []


def units_per_second(read: Tally) -> int | None:
    """Returns how many units of the log's clock a second has; None for a clock of the log's own."""
    forms = read.clocks.get(TIME, {})
    if are_dates(forms):
        return 1_000_000
    scales = [*scales_of(forms)]
    return 1000 ** EPOCHS.index(scales[0]) if len(scales) == 1 and scales[0] in EPOCHS else None


class _OnClock:
    """Turns durations, dates and numbers into times of a clock."""

    def __init__(self, clock: Clock, per_second: int | None, timezone: str) -> None:
        self._clock = clock
        self._per_second = per_second
        self._timezone = timezone
        self.problems: list[Problem] = []

    def read(self, key: str, moment: Moment, text: str) -> Number | None:
        """Returns a moment or the length of a window; None, and a problem, where it has none."""
        if isinstance(moment, float):
            if self._clock is Clock.TIMESTAMP:
                other = "a duration such as 14d" if key == "window" else "durations or dates"
                return self._refuse(
                    key, f"{other}, since the times of the log are timestamps", text
                )
            return self._whole(key, moment, text)
        if self._per_second is None:
            expected = "a number, since the log has a clock of its own (numbers that are not dates)"
            return self._refuse(key, expected, text)

        micros = moment // _MICROSECOND if isinstance(moment, timedelta) else self._date(text)
        if micros is None:
            return self._refuse(key, f"a time that exists in {self._timezone}", text)
        if self._clock is Clock.TIMESTAMP:
            return micros
        ticks, rest = divmod(micros * self._per_second, 1_000_000)
        return self._whole(key, ticks + rest / 1e6 if rest else ticks, text)

    def _date(self, text: str) -> int | None:
        read = read_clock(pl.Series([text]), self._timezone)
        assert read is not None, "text is always read"
        found = read.values.to_physical()[0]
        return None if read.numbers is not None or found is None else int(found)

    def _whole(self, key: str, number: Number, text: str) -> Number | None:
        if self._clock is Clock.FLOAT:
            return float(number)
        if number != int(number):
            return self._refuse(key, "a whole number, as all times of the log are", text)
        return int(number)

    def _refuse(self, key: str, expected: str, text: str) -> Number | None:
        problem = Problem(subject=f"data.outcomes.{key}", expected=expected, found=text)
        self.problems.append(problem)
        return None
