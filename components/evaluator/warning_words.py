"""An early warning in a sentence, with numbers no finer than they are known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.contracts.decision_results import Interval, WarningDay

ROUGH = 0.05  # an interval that reaches further from its number makes it an "about"
CLOSE = 0.02  # how far a share may be from a simple fraction that stands for it
NEARLY_ALL = 0.995

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_FRACTIONS = (
    (1, 10), (1, 5), (1, 4), (1, 3), (2, 5), (1, 2), (3, 5), (2, 3), (3, 4), (4, 5), (9, 10),
)  # fmt: skip


def warning_sentence(day: WarningDay, who: str, *, asked_share: float) -> str:
    """Returns what a decision has found by a day, in a sentence for people.

    Args:
        day: the numbers.
        who: the learners of the class, in words.
        asked_share: share of all learners and units that were asked about by then.

    >>> from components.contracts.decision_results import WarningDay
    >>> metrics = {"examples": 1, "of_class": 1, "named": 1, "right": 1}
    >>> day = {"day": 7, "learners": 900, "of_class": 500, "named": 460, "right": 305,
    ...        "recall": 0.61, "precision": 0.663, "lead_days": 19.2, "on_day": metrics}
    >>> warning_sentence(WarningDay.model_validate(day), "those who drop out", asked_share=1)
    'By day 7 it finds 61% of those who drop out, two in three alarms right, 19 days ahead.'
    """
    start = f"By day {day.day:g}"
    if asked_share < NEARLY_ALL:
        start += f", with {whole_percent(asked_share)} of all asked about,"
        who += " among them"

    if not day.of_class:
        return f"{start} there are none of {who}."
    if not day.named:
        return f"{start} it names nobody."
    if not day.right:
        alarms = "the one alarm is" if day.named == 1 else f"all {day.named:,} alarms are"
        return f"{start} it finds none of {who}; {alarms} false."

    found = _about(day.recall or 0.0, day.intervals.get("recall"))
    parts = [f"{start} it finds {found} of {who}"]
    parts.append(f"{_alarms(day.precision or 0.0, day.intervals.get('precision'))} right")
    if day.lead_days is not None:
        parts.append(_ahead(day.lead_days))
    return f"{', '.join(parts)}."


def whole_percent(share: float) -> str:
    """Returns a share of 1 in whole percent; only 0 and 1 are 0% and 100%.

    >>> whole_percent(0.614), whole_percent(0.999), whole_percent(0.001), whole_percent(1)
    ('61%', '>99%', '<1%', '100%')
    """
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{math.floor(100 * share + 0.5)}%"


def _about(share: float, interval: Interval | None) -> str:
    """Returns a share in percent, `about 61%` where chance reaches further than that."""
    if share == 1:
        return "all"
    return f"about {whole_percent(share)}" if _is_rough(share, interval) else whole_percent(share)


def _is_rough(value: float, interval: Interval | None) -> bool:
    return interval is not None and max(value - interval[0], interval[1] - value) > ROUGH


def _alarms(precision: float, interval: Interval | None) -> str:
    """Returns how many alarms are right: `two in three alarms`, `about 63% of alarms`."""
    if precision == 1:
        return "all alarms"
    top, bottom = min(_FRACTIONS, key=lambda pair: abs(precision - pair[0] / pair[1]))
    if abs(precision - top / bottom) > CLOSE:
        return f"{_about(precision, interval)} of alarms"
    about = "about " if _is_rough(precision, interval) else ""
    return f"{about}{_WORDS[top]} in {_WORDS[bottom]} alarms"


def _ahead(days: float) -> str:
    whole = math.floor(days + 0.5)
    if whole < 1:
        return "on the day itself"
    return "1 day ahead" if whole == 1 else f"{whole:,} days ahead"
