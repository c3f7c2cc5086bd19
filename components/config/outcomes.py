"""Outcomes that are derived from events, instead of a table that somebody has to build."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from components.config.mapping import EventMapping
from components.config.section import Address, InputName, KeyedError, Section
from components.config.value_sources import Source, as_sources

if TYPE_CHECKING:
    from components.config.data import Label

Derivation = Literal["inactivity", "grade", "completion", "next_answers", "passed"]
Moment = timedelta | datetime | float  # after a start, on the calendar, or on the log's own clock

# Columns of derived outcomes that no table has to hold.
HORIZON = "horizon_days"  # a duration in days, or a number of the log's own clock
MOMENT = "moment"  # the moment as it stands in the configuration
MADE = (HORIZON, MOMENT)

LONGEST = timedelta(days=14_600)  # start, moment and window add up within 64 bits of nanoseconds
LARGEST_NUMBER = 1e15

_DURATION = re.compile(r"(\d+(?:\.\d+)?) *([smhdw])")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

# Which derivations a key is for; without it the key has its default.
_ONLY_FOR: dict[str, tuple[Derivation, ...]] = {
    "next": ("next_answers",),
    "cuts": ("grade", "next_answers"),
    "values": ("grade",),
    "min_score": ("passed",),
    "column": ("grade",),
    "event_column": ("grade", "completion", "next_answers", "passed"),
}
_EVENT_COLUMNS: dict[Derivation, str] = {
    "grade": "score",
    "completion": "completed",
    "next_answers": "correct",
    "passed": "score",
}
_TWO_CLASSES: dict[Derivation, str] = {
    "inactivity": "[inactive, active]",
    "completion": "[not_completed, completed]",
    "passed": "[not_passed, passed]",
}


def parse_duration(text: str) -> timedelta:
    """Reads a duration such as `7d`.

    >>> parse_duration("36h")
    datetime.timedelta(days=1, seconds=43200)

    Raises:
        ValueError: it is another text, or longer than forty years.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a duration such as 7d, 36h or 2w, found {text!r}")
    try:
        duration = timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        duration = timedelta.max
    if duration > LONGEST:
        raise ValueError(f"expected a duration of at most {LONGEST.days:,} days, found {text!r}")
    return duration


def parse_moment(text: str) -> Moment:
    """Reads a duration, a date or timestamp (maybe without a zone), or a number.

    >>> parse_moment("7d"), parse_moment("28")
    (datetime.timedelta(days=7), 28.0)

    Raises:
        ValueError: it is another text.
    """
    text = text.strip()
    if _DURATION.fullmatch(text):
        return parse_duration(text)
    if _NUMBER.fullmatch(text) and abs(float(text)) <= LARGEST_NUMBER:
        return float(text)
    try:
        return datetime.fromisoformat(text if "-" in text else "")
    except ValueError:
        raise ValueError(
            "expected a duration such as 7d, a date such as 2026-03-01, or a number of the log's "
            f"own clock, found {text!r}"
        ) from None


def kind_of(moment: Moment) -> str:
    """Returns what a moment is, in a word of the plural."""
    if isinstance(moment, timedelta):
        return "durations"
    return "dates" if isinstance(moment, datetime) else "numbers"


def _as_text(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number or isinstance(value, date) else value


def _as_names(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {_as_text(name): _as_text(item) for name, item in value.items()}


def _moment(value: str) -> str:
    parse_moment(value)
    return value.strip()


def _window(value: str) -> str:
    moment = parse_moment(value)
    length = moment.total_seconds() if isinstance(moment, timedelta) else moment
    if isinstance(length, datetime) or length <= 0:
        raise ValueError(
            "expected a duration such as 7d, or a positive number of the log's own clock, found "
            f"{value!r}"
        )
    return value.strip()


def _end(value: str) -> str:
    if isinstance(parse_moment(value), timedelta):
        raise ValueError(
            f"expected a date such as 2026-03-01, or a number of the log's clock, found {value!r}"
        )
    return value.strip()


MomentText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_moment)]
WindowText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_window)]
EndText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_end)]


class DerivedOutcomes(Section):
    """Outcomes that follow from events: what is asked, when, and how long is waited for the answer.

    An outcome whose answer is not known when the log ends is none. docs/derived-outcomes.md says
    exactly what counts.
    """

    derive: Derivation = Field(
        description="`inactivity`: no event within `window` after the moment; `grade`: the grade "
        "in `table`, or that of the last event with a `score`; `completion`: an event with "
        "`completed`, or of `event_types`; `next_answers`: right answers among the `next` ones; "
        "`passed`: an event of `event_types`, or with a `score` of at least `min_score`"
    )
    at: list[MomentText] = Field(
        description="when is asked: durations after `after` (`7d`), dates in `data.timezone`, or "
        "numbers of the log's own clock after `after`",
        min_length=1,
    )
    after: Literal["learner", "unit", "clock"] = Field(
        "learner",
        description="what durations and numbers count from: the learner's first event in the "
        "unit, the first event of anybody in the unit, or (numbers) the clock's own zero",
    )
    window: WindowText | None = Field(
        None,
        description="how long after the moment the answer is waited for: a duration, or a number "
        "of the log's own clock; default: until the log ends",
    )
    until: EndText | None = Field(
        None,
        description="when the log ends: a date, or a number of its clock; default: its last event",
    )
    next: int = Field(5, ge=1, description="of `next_answers`: how many answers are looked at")
    cuts: list[float] = Field(
        default_factory=list,
        description="lowest value of each class but the first, in rising order: of grades, or of "
        "the number of right answers",
    )
    values: dict[str, str | None] = Field(
        default_factory=dict,
        description="of `grade`: the class (or number) that each grade in `table` stands for; null "
        "for none",
    )
    event_types: list[str] = Field(
        default_factory=list, description="types of the events that count; default: all"
    )
    min_score: float | None = Field(None, description="of `passed`: the lowest score that counts")
    event_column: InputName | None = Field(
        None,
        description="the column of events that holds the answer; default: `score` (of `grade` and "
        "`passed`), `completed` or `correct`",
    )
    table: list[Address] = Field(
        default_factory=list,
        description="files with a row per learner, or per learner and unit: grades, and columns to "
        "slice by or that the model reads",
    )
    column: str = Field("grade", description="of `grade`: the column of `table` with the grade")
    mapping: dict[InputName, list[Source]] = Field(
        default_factory=dict,
        description="by column of `table`: where its value is found in a row, as in `data.mapping`",
    )

    @field_validator("at", "table", "event_types", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return value if isinstance(value, list) else [value]

    @field_validator("values", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _as_names(value)

    @field_validator("mapping", mode="before")
    @classmethod
    def _sources(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: as_sources(item) for name, item in value.items()}

    @model_validator(mode="after")
    def _keys_fit_the_derivation(self) -> DerivedOutcomes:
        for key, derivations in _ONLY_FOR.items():
            default = type(self).model_fields[key].get_default(call_default_factory=True)
            if self.derive not in derivations and getattr(self, key) != default:
                raise KeyedError(
                    key, f"expected with derive: {' or '.join(derivations)}, found {self.derive}"
                )
        if self.derive == "inactivity" and self.window is None:
            raise KeyedError(
                "window",
                "this key is required with derive: inactivity (how long without an event is "
                "inactive, such as 14d) and was not found",
            )
        if self.derive == "passed" and self.min_score is None and not self.event_types:
            raise KeyedError(
                "min_score",
                "expected min_score, event_types or both with derive: passed, found none",
            )
        if self.cuts != sorted(set(self.cuts)):
            raise KeyedError("cuts", f"expected rising numbers, found {self.cuts}")
        return self

    @model_validator(mode="after")
    def _grades_are_in_one_place(self) -> DerivedOutcomes:
        if self.derive == "grade" and not self.table:
            for key in ("values", "column"):
                if key in self.model_fields_set and getattr(self, key) not in ({}, "grade"):
                    raise KeyedError(key, "expected with the key table, found none")
        if self.derive == "grade" and self.table:
            for key in ("event_types", "event_column"):
                if getattr(self, key):
                    raise KeyedError(
                        key, "expected the grades of table or those of events, found both"
                    )
        if self.mapping and not self.table:
            raise KeyedError("mapping", "expected with the key table, found none")
        return self

    @model_validator(mode="after")
    def _moments_are_of_one_kind(self) -> DerivedOutcomes:
        moments = self.moments
        kinds = sorted({kind_of(moment) for moment in moments})
        if len(kinds) > 1:
            raise KeyedError(
                "at", f"expected durations, dates or numbers, found {' and '.join(kinds)}"
            )
        is_aware = {isinstance(item, datetime) and item.tzinfo is not None for item in moments}
        if len(is_aware) > 1 or len({*moments}) < len(moments):
            raise KeyedError("at", f"expected moments that differ, found {', '.join(self.at)}")

        [kind] = kinds
        if kind == "dates" and self.after != "learner":
            raise KeyedError("after", f"expected durations or numbers in at, found {kind}")
        if kind == "durations" and self.after == "clock":
            raise KeyedError("after", f"expected numbers in at with after: clock, found {kind}")
        if self.window is not None and (kind == "numbers") != isinstance(self.length, float):
            wanted = "a number, as at has numbers" if kind == "numbers" else "a duration"
            raise KeyedError("window", f"expected {wanted}, found {self.window}")
        return self

    @property
    def moments(self) -> list[Moment]:
        """The moments at which is asked, in their order."""
        return [parse_moment(text) for text in self.at]

    @property
    def length(self) -> timedelta | float | None:
        """How long is waited for the answer; None until the log ends."""
        return None if self.window is None else cast("timedelta | float", parse_moment(self.window))

    @property
    def grades_are_in_table(self) -> bool:
        """Whether the answers are in the table, and so no event is looked at."""
        return self.derive == "grade" and bool(self.table)

    @property
    def answer_column(self) -> str | None:
        """The column of events that holds the answer; None where it is not in a column."""
        if self.derive == "inactivity" or self.grades_are_in_table:
            return None
        if self.derive == "passed" and self.min_score is None:
            return None
        if self.derive == "completion" and self.event_types:
            return self.event_column
        return self.event_column or _EVENT_COLUMNS[self.derive]

    @property
    def table_mapping(self) -> EventMapping | None:
        """How rows of the table are read; None for a table with these columns."""
        return EventMapping(columns=self.mapping) if self.mapping else None


def require_outcomes_fit(
    outcomes: DerivedOutcomes, label: Label, columns: Sequence[str], features: Mapping[str, str]
) -> None:
    """Checks derived outcomes against the rest of the configuration.

    Args:
        outcomes: how they are derived.
        label: what is predicted.
        columns: columns of outcomes that the configuration names.
        features: the type of each step feature.

    Raises:
        KeyedError: they do not fit, with the keys from the file's top.
    """
    here = ("data", "outcomes")
    _require_task(outcomes, label)
    if label.column in MADE:
        raise KeyedError(("label", "column"), f"expected another name than {label.column}")
    if HORIZON in columns and kind_of(outcomes.moments[0]) == "dates":
        raise KeyedError(
            (*here, "at"),
            f"expected durations or numbers, since {HORIZON} is asked for, found dates; "
            f"dates as text are in the column {MOMENT}",
        )

    of_table = [name for name in columns if name not in MADE]
    if of_table and not outcomes.table:
        raise KeyedError(
            (*here, "table"),
            f"expected a table with {', '.join(of_table)}, which derived outcomes do not have "
            f"(they have {' and '.join(MADE)}), found none",
        )
    answer = outcomes.answer_column
    if answer is not None and features.get(answer, "numeric") != "numeric":
        raise KeyedError(
            ("steps", "features", answer, "type"),
            f"expected numeric, since outcomes are derived from {answer}, found categorical",
        )


def _require_task(outcomes: DerivedOutcomes, label: Label) -> None:
    derive, cuts, count = outcomes.derive, outcomes.cuts, len(label.classes)
    keys = ("label", "classes")
    if derive in _TWO_CLASSES:
        if count != 2:
            raise KeyedError(
                keys if label.classes else ("label", "task"),
                f"expected two classes with derive: {derive}, such as {_TWO_CLASSES[derive]}, "
                f"found {label.classes or label.task}",
            )
        return

    if label.task == "regression":
        if cuts:
            raise KeyedError(
                ("data", "outcomes", "cuts"), f"expected none with task: regression, found {cuts}"
            )
        return
    if cuts and len(cuts) != count - 1:
        expected = f"one class more than data.outcomes.cuts has numbers, {len(cuts) + 1}"
        raise KeyedError(keys, f"expected {expected}, found {count}")
    if not cuts and not outcomes.grades_are_in_table:
        what = "scores" if derive == "grade" else "right answers"
        raise KeyedError(
            ("data", "outcomes", "cuts"),
            f"expected the lowest {what} of each class but the first (one number less than there "
            "are classes, or task: regression), found none",
        )
    unknown = {name for name in outcomes.values.values() if name is not None} - {*label.classes}
    if unknown and not cuts:
        raise KeyedError(
            ("data", "outcomes", "values"),
            f"expected classes of label.classes ({', '.join(label.classes)}), found "
            f"{', '.join(sorted(unknown))}",
        )
