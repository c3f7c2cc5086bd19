"""Where the log is, which spans of it are read, what its columns are called, and its splits."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from components.config.csv_dialect import CsvDialect
from components.config.emotions import EmotionReason
from components.config.fetch import Fetch, fetch_folder
from components.config.mapping import EventMapping, Lookup, RecordKind, as_rule
from components.config.outcomes import DerivedOutcomes
from components.config.record_paths import Rule, check_rules
from components.config.section import (
    Address,
    InputName,
    KeyedError,
    Section,
    integers_as_digits,
)
from components.config.spans import NEWEST, PLACEHOLDER, SpanKind, parse_span, span_kind
from components.config.value_sources import Source, as_sources
from components.platforms.formats import PLATFORMS, STANDARD, mapping_of

DWELL_CAP = 1800.0  # seconds; half an hour without an event is a break


class Columns(Section):
    """What the log calls the columns that every log has."""

    learner_id: str = Field("learner_id", description="the learner, in both tables")
    unit_id: str = Field("unit_id", description="what mastery is judged for, in both tables")
    time: str = Field("time", description="when an event happened, in events")
    event_type: str = Field("event_type", description="the kind of an event, in events")
    as_of: str = Field(
        "as_of", description="the moment of judgement, in outcomes: only events before it are seen"
    )

    @model_validator(mode="after")
    def _one_role_each(self) -> Columns:
        events = ("learner_id", "unit_id", "time", "event_type")
        outcomes = ("learner_id", "unit_id", "as_of")
        for table in (events, outcomes):
            roles: dict[str, str] = {}
            for role in table:
                column = getattr(self, role)
                if column in roles:
                    raise KeyedError(
                        role,
                        f"expected another column than for {roles[column]}, "
                        f"found {column!r} for both",
                    )
                roles[column] = role
        return self


class Splits(Section):
    """Shares of learners, or of units, in train, eval and test; each is in one of them only."""

    by: Literal["learner", "unit"] = Field(
        "learner",
        description="what is held out: learners, whose other units may be known; or whole units, "
        "to measure how the model does in courses that it has never seen",
    )
    train: int = Field(8, ge=1, description="parts of the learners that the model is fitted to")
    eval: int = Field(1, ge=1, description="parts that decide when training stops")
    test: int = Field(1, ge=1, description="parts that the gates judge by; not read with `folds`")
    seed: str = Field("mastery", description="decides which learners are in which split")
    folds: int | None = Field(
        None,
        ge=2,
        le=100,
        description="number of equal parts, each the test split of one run of `mastery "
        "cross-validate`; train and eval share the others",
    )
    fold: int = Field(0, ge=0, description="which of the `folds` is the test split, from 0")
    column: InputName | None = Field(
        None,
        description="column of outcomes with the number of the fold, from 0; default: by a hash",
    )

    @model_validator(mode="after")
    def _fold_is_one_of_the_folds(self) -> Splits:
        if self.folds is None and (self.fold or self.column is not None):
            key = "fold" if self.fold else "column"
            raise KeyedError(key, f"expected none without folds, found {getattr(self, key)}")
        if self.folds is not None and self.fold >= self.folds:
            raise KeyedError("fold", f"expected 0 to {self.folds - 1}, found {self.fold}")
        return self


def _form_of_outcomes(value: object) -> str:
    return "derived" if isinstance(value, Mapping | DerivedOutcomes) else "files"


# The form decides which errors are shown.
Outcomes = Annotated[
    Annotated[list[Address], Field(min_length=1), Tag("files")]
    | Annotated[DerivedOutcomes, Tag("derived")],
    Discriminator(_form_of_outcomes),
]


class Data(Section):
    """The behaviour log."""

    events: list[Address] = Field(
        description="Parquet, CSV or JSON lines: a file, a folder, a pattern (`{SPAN}`, `{YYYY}`, "
        "`{MM}`, `{DD}`, `{VERSION}` match numbers; see `span`), or a list of these",
        min_length=1,
    )
    fetch: Fetch | None = Field(
        None,
        description="where `events` is fetched from before it is read (`mastery fetch`); default: "
        "the files are there already",
    )
    format: Literal["standard", "moodle", "open_edx", "xapi", "caliper"] = Field(
        "standard",
        description="who wrote `events`: `standard`, events in columns (also `csv`, `parquet`, "
        "`jsonl`: the suffix of a file says which it is), or a platform",
    )
    mapping: dict[InputName, list[Source] | None] = Field(
        default_factory=dict,
        description="by column of events: where its value is found in a record of `events`; laid "
        "over the mapping of the format, of which null takes a column away",
    )
    leave_out: dict[str, Rule | None] = Field(
        default_factory=dict,
        description="by name: records that are not events of learners, such as those of robots, "
        "staff and tests; laid over the rules of the format, of which null takes one away",
    )
    lookups: dict[InputName, Lookup | None] = Field(
        default_factory=dict, description="small tables that `mapping` looks values up in"
    )
    csv: CsvDialect = Field(
        default_factory=CsvDialect,
        description="how CSV files of `events` and `lookups` are written",
    )
    outcomes_csv: CsvDialect = Field(
        default_factory=CsvDialect, description="how CSV files of `outcomes` are written"
    )
    kinds: dict[InputName, RecordKind | None] = Field(
        default_factory=dict,
        description="by name: further tables that a file of `events` may be, recognised by their "
        "columns; of the format's own, one of the same name replaces it and null takes it away",
    )
    dwell_cap_seconds: float | None = Field(
        None,
        gt=0,
        description="an event without `dwell_seconds` gets the time to the learner's next event, "
        "at most this; default: 1800 for platforms, otherwise such values stay missing",
    )
    outcomes: Outcomes = Field(
        description="the same as `events` for the table of outcomes; or how they are derived"
    )
    span: str = Field(
        NEWEST,
        description="which spans are read, if patterns have placeholders: `newest`; one span, by "
        "its date (`2026-11-20`) or number; or `last: 7` (`last:7` on the command line), the "
        "newest seven that exist, joined; with `until: 2026-11-20` (`last:7 until 2026-11-20`) "
        "as if there were none after that one",
    )
    replay: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the learners of older spans whose outcomes are trained on again, "
        "beside the spans that are read; chosen by a hash, so the same ones each time; they enter "
        "the train split only",
    )
    columns: Columns = Field(
        default_factory=Columns, description="names of the columns that every log has"
    )
    timezone: str = Field(
        "UTC", description="zone of timestamps that name none; all are stored as UTC"
    )
    max_cold_start_share: float = Field(
        0.05, ge=0, le=1, description="share of outcomes that may have no event before `as_of`"
    )
    nan_as_missing: bool = Field(
        False, description="take NaN as a missing value instead of an error"
    )
    min_class_examples: int = Field(
        5, ge=1, description="examples that every class needs in every split"
    )
    sample_learners: int | None = Field(
        None,
        ge=1,
        description="use only this many learners, chosen by a hash, with all of their rows; "
        "default: all",
    )
    left_out: str | None = Field(
        None,
        description="the list of learners who opted out or were erased (`mastery learner opt-out`);"
        " their rows are not read, in training or afterwards",
    )
    splits: Splits = Field(default_factory=Splits, description="shares of learners in each split")

    @model_validator(mode="before")
    @classmethod
    def _default_cap(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "dwell_cap_seconds" in values:
            return values
        is_platform = values.get("format", "standard") in PLATFORMS
        return {**values, "dwell_cap_seconds": DWELL_CAP} if is_platform else values

    @field_validator("events", "outcomes", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("format", mode="before")
    @classmethod
    def _suffixes_are_standard(cls, value: object) -> object:
        return "standard" if value in ("csv", "parquet", "jsonl") else value

    @field_validator("mapping", "leave_out", mode="before")
    @classmethod
    def _lists(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        read = as_sources if info.field_name == "mapping" else as_rule
        return {name: None if item is None else read(item) for name, item in value.items()}

    @field_validator("leave_out")
    @classmethod
    def _rules_are_right(cls, value: dict[str, Rule | None]) -> dict[str, Rule | None]:
        check_rules({name: rule for name, rule in value.items() if rule is not None})
        return value

    @model_validator(mode="after")
    def _lookups_are_known(self) -> Data:
        mapping = self.event_mapping
        if mapping is not None:
            mapping.check_lookups()
        return self

    @property
    def outcome_files(self) -> list[str]:
        """Paths and patterns of the table of outcomes; of derived ones, those of `table`."""
        given = self.outcomes
        return [*given.table] if isinstance(given, DerivedOutcomes) else given

    @property
    def derived(self) -> DerivedOutcomes | None:
        """How outcomes are derived; None where there is a table of them."""
        return self.outcomes if isinstance(self.outcomes, DerivedOutcomes) else None

    @property
    def event_mapping(self) -> EventMapping | None:
        """How records of `events` become events; None for a table of events."""
        if self.format == STANDARD and not (
            self.mapping or self.leave_out or self.lookups or self.kinds
        ):
            return None
        of_format = mapping_of(self.format)
        return of_format.laid_over(self.mapping, self.leave_out, self.lookups, self.kinds)

    @field_validator("span", mode="before")
    @classmethod
    def _span_in_one_way(cls, value: object) -> str:
        return str(parse_span(value))

    @model_validator(mode="after")
    def _placeholders_fit(self) -> Data:
        kinds: dict[SpanKind, tuple[str | int, ...]] = {}  # with the keys of the first pattern
        for table, patterns in (("events", self.events), ("outcomes", self.outcome_files)):
            for index, pattern in enumerate(patterns):
                place = (table, index) if len(patterns) > 1 else (table,)
                kind = _kind_at(place, pattern)
                if kind is not None:
                    kinds.setdefault(kind, place)

        if len(kinds) > 1:
            raise KeyedError(
                [*kinds.values()][-1],
                "expected {SPAN} in all patterns with placeholders, or dates in all of them, "
                "found both",
            )
        if not kinds and self.span != NEWEST:
            raise KeyedError(
                "span",
                "expected {SPAN} or {YYYY}, {MM}, {DD} in events or outcomes with span "
                f"{self.span}, found none",
            )
        choice = parse_span(self.span)
        if "number" in kinds and date in {type(choice.given), type(choice.until)}:
            raise KeyedError(
                "span", f"expected a number, as the patterns have {{SPAN}}, found {self.span}"
            )
        return self

    @model_validator(mode="after")
    def _replay_finds_older_spans(self) -> Data:
        derives = isinstance(self.outcomes, DerivedOutcomes)
        asking = self.events if derives else self.outcome_files
        if self.replay and not all(map(span_kind, asking)):
            table = "events" if derives else "outcomes"
            raise KeyedError(
                "replay",
                "expected {SPAN} or {YYYY}, {MM}, {DD} in every path of "
                f"{table}, so that older spans can be told from those that are read; found none in "
                f"{next(pattern for pattern in asking if not span_kind(pattern))}",
            )
        return self

    @model_validator(mode="after")
    def _fetch_has_a_folder(self) -> Data:
        if self.fetch is not None:
            place = ("events", 0) if len(self.events) > 1 else ("events",)
            try:
                fetch_folder(self.events[0])
            except ValueError as error:
                raise KeyedError(place, str(error)) from None
        return self

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        return check_timezone(value)


def _kind_at(place: tuple[str | int, ...], pattern: str) -> SpanKind | None:
    try:
        return span_kind(pattern)
    except ValueError as error:
        raise KeyedError(place, str(error)) from None


def check_timezone(name: str) -> str:
    """Returns the name of a time zone.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as Europe/Zurich, found {name!r}") from None
    return name


class Label(Section):
    """What is predicted: a column of outcomes."""

    column: str = Field(description="the column of outcomes that holds the label")
    task: Literal["classification", "regression"] = Field(
        "classification", description="classes, or a number"
    )
    classes: list[str] = Field(
        default_factory=list,
        description="the classes, lowest first; integers are taken as their digits",
    )
    emotion_reason: EmotionReason = None

    @field_validator("classes", mode="before")
    @classmethod
    def _integers_as_digits(cls, value: object) -> object:
        return integers_as_digits(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> Label:
        if self.task == "regression" and self.classes:
            raise KeyedError(
                "classes", f"expected none with task: regression, found {self.classes}"
            )

        has_doubles = len(set(self.classes)) < len(self.classes)
        if self.task == "classification" and (len(self.classes) < 2 or has_doubles):
            raise KeyedError(
                "classes", f"expected two or more different names, found {self.classes}"
            )
        return self


def absolute_pattern(pattern: str, folder: Path) -> str:
    """Returns a path or pattern of a log that does not depend on the current folder.

    Args:
        pattern: what the user wrote; one with `://` is returned unchanged.
        folder: the folder it counts from; no character of its name is taken as a wildcard.

    >>> absolute_pattern("day-*/events.csv", Path("/logs [old]"))
    '/logs [[]old]/day-*/events.csv'
    """
    if "://" in pattern:
        return pattern

    parts = Path(pattern).expanduser().parts
    is_special = [glob.has_magic(part) or PLACEHOLDER.search(part) is not None for part in parts]
    first = is_special.index(True) if any(is_special) else len(parts)
    start = str(Path(folder, *parts[:first]).resolve())
    return str(Path(glob.escape(start), *parts[first:])) if first < len(parts) else start
