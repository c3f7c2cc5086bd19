"""Outcomes that are derived from events, instead of a table that somebody has to build."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from components.config.section import Address, KeyedError, Section

Derivation = Literal["inactivity", "grade", "completion", "next_answers", "passed"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?) *([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Reads a duration such as `7d`.

    >>> parse_duration("36h")
    datetime.timedelta(days=1, seconds=43200)

    Raises:
        ValueError: it is another text.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a duration such as 7d, 36h or 2w, found {text!r}")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _duration(value: str) -> str:
    parse_duration(value)
    return value.strip()


def _as_text(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number or isinstance(value, date) else value


def _moment(value: str) -> str:
    """Checks a duration, a date, or a number of the log's own clock."""
    text = value.strip()
    if _DURATION.fullmatch(text) or re.fullmatch(r"\d+(\.\d+)?", text):
        return text
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "expected a duration such as 7d, a date such as 2026-03-01, or a number of the log's "
            f"own clock, found {value!r}"
        ) from None
    return text


Duration = Annotated[str, BeforeValidator(_as_text), AfterValidator(_duration)]
Moment = Annotated[str, BeforeValidator(_as_text), AfterValidator(_moment)]


class DerivedOutcomes(Section):
    """Outcomes that follow from events: what is asked, when, and how long is waited for the answer.

    An outcome whose answer is not known when the log ends is none.
    """

    derive: Derivation = Field(
        description="`inactivity`: no event within `window` after the moment; `grade`: the grade "
        "in `table`, or that of the last event with a `score`; `completion`: an event with "
        "`completed`; `next_answers`: right answers among the `next` ones; `passed`: an event of "
        "`event_types`, or with a `score` of at least `min_score`"
    )
    at: list[Moment] = Field(
        description="when is asked: durations after `after` (`7d`), dates, or numbers of the log's "
        "own clock after `after`",
        min_length=1,
    )
    after: Literal["learner", "unit"] = Field(
        "learner",
        description="what durations count from: the learner's first event in the unit, or the "
        "first event of anybody in the unit",
    )
    window: Duration | None = Field(
        None, description="how long after the moment the answer is waited for"
    )
    next: int = Field(5, ge=1, description="of `next_answers`: how many answers are looked at")
    cuts: list[float] = Field(
        default_factory=list,
        description="lowest value of each class but the first, in rising order; of grades, or of "
        "right answers",
    )
    event_types: list[str] = Field(
        default_factory=list, description="of `passed` and `completion`: the events that count"
    )
    min_score: float | None = Field(None, description="of `passed`: the lowest score that counts")
    table: list[Address] = Field(
        default_factory=list,
        description="files with a row per learner, or per learner and unit: grades, and columns to "
        "slice by or that the model reads",
    )
    column: str = Field("grade", description="of `grade`: the column of `table` with the grade")

    @field_validator("at", "table", "event_types", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return value if isinstance(value, list) else [value]

    @model_validator(mode="after")
    def _moments_are_of_one_kind(self) -> DerivedOutcomes:
        kinds = {_kind_of(text) for text in self.at}
        if len(kinds) > 1:
            raise KeyedError(
                "at", f"expected durations, dates or numbers, found {' and '.join(sorted(kinds))}"
            )
        if self.cuts != sorted(set(self.cuts)):
            raise KeyedError("cuts", f"expected rising numbers, found {self.cuts}")
        return self


def _kind_of(moment: str) -> str:
    if _DURATION.fullmatch(moment):
        return "durations"
    return "dates" if "-" in moment else "numbers"
