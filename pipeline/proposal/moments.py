"""When is asked, and how long is waited for the answer: from the lifetimes of learners in a log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from components.config.outcomes import parse_duration
from components.contracts.names import LEARNER, TIME, UNIT

if TYPE_CHECKING:
    from pipeline.proposal.overview import Overview

DURATIONS = (
    "1h", "2h", "6h", "12h", "1d", "2d", "3d", "5d", "7d", "10d", "14d", "21d", "28d", "42d", "56d",
    "84d", "112d",
)  # fmt: skip
NUMBERS = (1, 2, 3, 5, 7, 10, 14, 21, 28, 42, 60, 90, 120, 180, 270, 360)
PAUSE = timedelta(minutes=30)  # a longer gap is between two visits
_PARTS = (0.25, 0.5, 0.75)  # of a usual lifetime: when is asked


@dataclass(frozen=True)
class Lifetimes:
    """How long learners are active in a unit.

    Attributes:
        usual: a quarter of those with more than one event are active for longer.
        gap: between two visits; nine in ten are shorter.
        extent: of the whole log.
        start_together: whether most learners begin at the same number of the clock.
        tells_time: whether the clock counts seconds or the like, no numbers of the log's own.
    """

    usual: float
    gap: float
    extent: float
    start_together: bool
    tells_time: bool

    @property
    def words(self) -> str:
        """The usual lifetime in words."""
        if not self.tells_time:
            return f"a quarter of the learners are active for {self.usual:.3g} or longer"
        days = self.usual / 86_400
        return f"a quarter of the learners are active for {days:.2g} days or longer"

    @property
    def after(self) -> Literal["learner", "clock"]:
        """What moments count from."""
        return "clock" if self.start_together else "learner"

    def moments(self) -> list[Any]:
        """Returns up to three moments within a usual lifetime, each as a configuration has it."""
        found = [self._at_most(part * self.usual) for part in _PARTS]
        return [*dict.fromkeys(found)]

    def windows(self) -> list[Any]:
        """Returns how long a pause may be that means that somebody is gone, best first."""
        lengths = [self._length(item) for item in self._scale]
        at_least = [
            item
            for item, length in zip(self._scale, lengths, strict=True)
            if length >= self.gap and length <= self.extent / 3
        ]
        return at_least[:4] or [self._at_most(self.extent / 3)]

    @property
    def _scale(self) -> tuple[Any, ...]:
        return DURATIONS if self.tells_time else NUMBERS

    def _length(self, item: Any) -> float:
        return parse_duration(item).total_seconds() if isinstance(item, str) else float(item)

    def _at_most(self, limit: float) -> Any:
        fitting = [item for item in self._scale if self._length(item) <= limit]
        return fitting[-1] if fitting else self._scale[0]


def lifetimes_of(overview: Overview) -> Lifetimes:
    """Returns how long learners are active; durations in seconds, or numbers of the log's clock."""
    times = _numbers(overview).sort(LEARNER, UNIT, TIME)
    lives = times.group_by(LEARNER, UNIT).agg(
        pl.col(TIME).min().alias("first"), (pl.col(TIME).max() - pl.col(TIME).min()).alias("life")
    )
    long = lives.filter(pl.col("life") > 0)["life"]
    gaps = times.select(pl.col(TIME).diff().over(LEARNER, UNIT)).to_series().drop_nulls()
    tells_time = overview.per_second is not None
    between = gaps.filter(gaps > (PAUSE.total_seconds() if tells_time else 0))

    extent = _number(times[TIME].max()) - _number(times[TIME].min())
    spread = _number(lives["first"].quantile(0.9)) - _number(lives["first"].quantile(0.1))
    return Lifetimes(
        usual=_number(long.quantile(0.75)),
        gap=_number(between.quantile(0.9)),
        extent=extent,
        start_together=not tells_time and 0 < spread < 0.2 * extent,
        tells_time=tells_time,
    )


def _numbers(overview: Overview) -> pl.DataFrame:
    numbers = pl.col(TIME).to_physical().cast(pl.Float64) / (overview.per_second or 1.0)
    return overview.events.select(LEARNER, UNIT, numbers.alias(TIME))


def _number(value: Any) -> float:
    return 0.0 if value is None else float(value)
