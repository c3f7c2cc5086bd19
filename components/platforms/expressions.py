"""Applies a mapping to records: Polars expressions over raw columns, all of them text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from components.config.record_paths import ValuesInFile, lookup_of, split_path
from components.event_log.nested_json import mended
from components.event_log.problems import Problem, describe
from components.platforms.lookups import problems_of_lists, values_in

if TYPE_CHECKING:
    from components.config.mapping import EventMapping
    from components.config.record_paths import Condition, Conditions, Rule
    from components.config.value_sources import Source

SHOWN_VALUES = 3
SECONDS = "%s"  # the format of seconds since 1970
_TRUE = ("true", "yes", "1", "1.0", "t", "y")
_FALSE = ("false", "no", "0", "0.0", "f", "n")
# Years and months have no fixed length: those of xAPI's own table, 365 days and 30.
_DURATION = (
    r"^(-)?P(?:(N)Y)?(?:(N)M)?(?:(N)W)?(?:(N)D)?(?:T(?:(N)H)?(?:(N)M)?(?:(N)S)?)?$"
).replace("N", r"\d+(?:[.,]\d+)?")
_SECONDS = (365 * 86400.0, 30 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0)


_Ways = dict[str, list[str | int]]  # by path, the steps to its value


def raw_columns(mapping: EventMapping, columns: Iterable[str]) -> list[str]:
    """Returns the columns of a record that are read to find some columns of events."""
    every = [*paths_to(mapping, columns), *paths_of_rules(mapping.leave_out)]
    paths = in_record(mapping, every)
    return [*dict.fromkeys(str(split_path(path)[0]) for path in paths)]


def in_record(mapping: EventMapping, paths: Iterable[str]) -> list[str]:
    """Returns paths, each once, with those of the keys instead of those in lookups."""
    found = ((path, lookup_of(path)) for path in paths)
    return [*dict.fromkeys(mapping.lookups[at[0]].path if at else path for path, at in found)]


def is_in_record(mapping: EventMapping, column: str) -> bool:
    """Returns whether a column is mapped, and to the record alone."""
    return column in mapping.columns and not any(map(lookup_of, _paths_of(mapping, column)))


def problems_of(mapping: EventMapping) -> list[Problem]:
    """Returns what is wrong with a mapping that its configuration cannot show.

    Polars' regular expressions and formats of times are not Python's, and lists of values are
    files.
    """
    problems = problems_of_lists(mapping)
    for keys, source in mapping.every_source:
        faults = [_fault_of_pattern(text) for text in (source.pattern, source.file) if text]
        faults += [_fault_of_format(source.format)] if source.format else []
        problems += [_at(keys, *fault) for fault in faults if fault]
    for keys, conditions in mapping.every_condition:
        for path, wanted in conditions.items():
            if isinstance(wanted, str) and (fault := _fault_of_pattern(wanted)):
                problems.append(_at((*keys, path), *fault))
    return problems


def _at(keys: Iterable[str | int], expected: str, found: str) -> Problem:
    subject = ".".join(map(str, ("data", *keys)))
    return Problem(subject=subject, expected=expected, found=found)


@cache
def _fault_of_pattern(pattern: str) -> tuple[str, str] | None:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        reason = re.search(r"error: (.*)|(exceeds size limit)", str(error))
        why = next(filter(None, reason.groups())) if reason else "unknown"
        return "a regular expression as Rust reads it", f"{describe(pattern)} ({why})"
    return None


@cache
def _fault_of_format(layout: str) -> tuple[str, str] | None:
    if layout == SECONDS:
        return None
    moment = pl.Series([datetime(2024, 5, 17, 13, 14, 15, tzinfo=UTC)])
    try:
        read = moment.dt.to_string(layout).str.to_datetime(layout, strict=False)
        if read.dt.date().to_list() == [date(2024, 5, 17)]:
            return None
    except pl.exceptions.PolarsError:
        pass
    return "a format with year, month and day, such as %d.%m.%Y %H:%M", describe(layout)


def paths_to(mapping: EventMapping, columns: Iterable[str]) -> list[str]:
    """Returns the paths that the values of columns of events are found at."""
    return [path for column in columns for path in _paths_of(mapping, column)]


def paths_of_rules(rules: Mapping[str, Rule]) -> list[str]:
    """Returns the paths that rules about records ask for."""
    return [path for rule in rules.values() for item in rule for path in item]


def _paths_of(mapping: EventMapping, column: str) -> list[str]:
    sources = mapping.columns.get(column)
    if sources is None:
        return [f'"{column}"']  # a column that is not mapped is the record's own
    return [path for source in sources for path in source.paths]


def keys_of(mapping: EventMapping, column: str) -> list[str]:
    """Returns the columns of a record that a column of events is made from."""
    paths = in_record(mapping, _paths_of(mapping, column))
    return [*dict.fromkeys(str(split_path(path)[0]) for path in paths)]


def values_at(records: pl.DataFrame, paths: Iterable[str]) -> pl.DataFrame:
    """Returns the values at paths as text, in columns named by the paths.

    Records repeat what they are about, a person or a course, so each text is parsed once.

    Args:
        records: columns of text, each that a path begins with.
        paths: where the values are.

    Returns:
        As many rows; null where there is no value, or an empty one.
    """
    ways = {path: split_path(path) for path in paths}
    found = [
        values
        for name, group in _by_step(ways).items()
        for values in _values_within(records[str(name)], group)
    ]
    frame = pl.DataFrame(found, height=records.height)
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def _by_step(ways: _Ways) -> dict[str | int, _Ways]:
    """Groups paths by their next step, which is taken off."""
    groups: dict[str | int, _Ways] = {}
    for path, (step, *further) in ways.items():
        groups.setdefault(step, {})[path] = further
    return groups


def _values_within(texts: pl.Series, ways: _Ways) -> list[pl.Series]:
    """Returns the values that are found within texts of JSON, named by their paths.

    Args:
        texts: objects or lists; text that is no JSON has nothing within.
        ways: by path, the steps that are left.
    """
    found = [texts.alias(path) for path, steps in ways.items() if not steps]
    deeper = _by_step({path: steps for path, steps in ways.items() if steps})
    if not deeper:
        return found

    different = pl.DataFrame({"text": texts.unique()}).with_row_index("row")
    rows = pl.DataFrame({"text": texts}).join(
        different, on="text", how="left", maintain_order="left", nulls_equal=True
    )
    children = _children(different["text"], [*deeper])
    below = [
        values
        for step, group in deeper.items()
        for values in _values_within(children[_name_of(step)], group)
    ]
    return [*found, *pl.DataFrame(below)[rows["row"]].get_columns()]


def _children(texts: pl.Series, steps: list[str | int]) -> pl.DataFrame:
    """Returns the values one step within texts of JSON, in columns named by the steps."""
    names = [step for step in steps if isinstance(step, str)]
    is_object = texts.str.starts_with("{").fill_null(value=False)
    parsed = _parse_objects(texts.filter(is_object), names) if names else None
    if names and parsed is None:  # some are cut off, or on several lines
        compact = texts.str.json_path_match("$")
        is_object = compact.str.starts_with("{").fill_null(value=False)
        parsed = _parse_objects(compact.filter(is_object), names)
    if parsed is not None:
        row = pl.when(is_object).then(is_object.cum_sum() - 1)
        found = parsed.select(pl.all().gather(pl.select(row).to_series()))
    else:
        found = pl.select(_child(texts, name) for name in names)
    others = (_child(texts, step) for step in steps if isinstance(step, int))
    return found.with_columns(others) if names else pl.select(others)


def _parse_objects(texts: pl.Series, names: list[str]) -> pl.DataFrame | None:
    """Returns members of objects as text, far faster than one by one; None if one is no object."""
    lines = "\n".join(texts).encode()
    try:
        frame = pl.read_ndjson(io.BytesIO(lines), schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.PolarsError:
        return None
    if frame.height != len(texts):
        return None
    return mended(frame, lambda: [text.encode() for text in texts]) if b"\\" in lines else frame


def _child(texts: pl.Series, step: str | int) -> pl.Expr:
    query = f"$[{step}]" if isinstance(step, int) else f'$["{step}"]'
    return pl.lit(texts).str.json_path_match(query).alias(_name_of(step))


def _name_of(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else step


def value_at(path: str) -> pl.Expr:
    """Returns the value at a path, as `values_at` has found it."""
    return pl.col(path)


def column_of(mapping: EventMapping, column: str, file: str) -> pl.Expr:
    """Returns a column of events.

    Args:
        mapping: how it is found.
        column: its name.
        file: the path of the file.
    """
    sources = mapping.columns.get(column)
    if sources is None:
        return value_at(f'"{column}"').alias(column)
    if not sources:  # a column of other tables of the format
        return pl.lit(None, pl.String).alias(column)
    return pl.coalesce(value_of(source, file) for source in sources).alias(column)


def origin_of(mapping: EventMapping, column: str, file: str, record: pl.DataFrame) -> str:
    """Returns where the value of a column is from, as messages show it; empty if that is plain.

    Args:
        mapping: how it is found.
        column: its name.
        file: the path of the file.
        record: the values of one record, as `values_at` returns them.
    """
    sources = mapping.columns.get(column, [])
    taken = (way for way in sources if record.select(value_of(way, file)).item() is not None)
    way = next(taken, None)
    paths = [path for item in ([way] if way else sources) for path in item.value_paths]
    values = {path: record[path].item() for path in paths}
    shown = [f"{path} is {describe(value)}" for path, value in values.items() if value is not None]
    if not shown:
        return f"nothing at {', '.join(values)}" if values else ""
    return ", ".join(shown[:SHOWN_VALUES])


def meets(rule: Rule) -> pl.Expr:
    """Returns which records a rule is about."""
    return pl.any_horizontal(_meets_all(conditions) for conditions in rule)


def _meets_all(conditions: Conditions) -> pl.Expr:
    return pl.all_horizontal(_meets(path, wanted) for path, wanted in conditions.items())


def _meets(path: str, wanted: Condition) -> pl.Expr:
    value = value_at(path)
    if isinstance(wanted, str):
        found = value.str.contains(wanted)
    else:
        known = values_in(wanted.file) if isinstance(wanted, ValuesInFile) else wanted
        found = value.is_in(pl.Series(known, dtype=pl.String).implode())
    return found.fill_null(value=False)


def value_of(source: Source, file: str) -> pl.Expr:
    """Returns the value that one way finds; null if it finds none."""
    value = _origin(source, file)
    if source.pattern is not None:
        value = value.str.extract(source.pattern)
    if source.values:
        others = pl.lit(None, pl.String) if source.only_values else value
        old, new = [*source.values], [*source.values.values()]
        value = value.replace_strict(old, new, default=others, return_dtype=pl.String)
    if source.equals is not None:
        value = (value == value_at(source.equals)).cast(pl.Int8).cast(pl.String)
    if source.as_ == "boolean":
        value = _boolean(value)
    elif source.as_ == "duration":
        value = seconds_of(value)
    if source.minus is not None:
        less = value_at(source.minus)
        value = _or_as_written(_number(value) - _number(less), "{} - {}", value, less)
    if source.over is not None:
        whole = pl.lit(source.over) if source.divisor else value_at(source.over)
        share = _or_as_written(_number(value) / _number(whole), "{} / {}", value, whole)
        value = pl.when((_number(whole) > 0).fill_null(value=True)).then(share)
    if source.format == SECONDS:
        value = _since_1970(value)
    elif source.format is not None:
        value = value.str.to_datetime(source.format, strict=False).dt.to_string("iso:strict")
    if source.unless:
        value = pl.when(~_meets_all(source.unless)).then(value)
    return pl.when(_meets_all(source.when)).then(value) if source.when else value


def _number(value: pl.Expr) -> pl.Expr:
    return value.cast(pl.Float64, strict=False)


def _or_as_written(result: pl.Expr, written: str, *numbers: pl.Expr) -> pl.Expr:
    """Returns a result; where a number is none, its calculation, which reading then refuses."""
    return pl.coalesce(result.cast(pl.String), pl.format(written, *numbers))


def _origin(source: Source, file: str) -> pl.Expr:
    if source.from_ is not None:
        return value_at(source.from_)
    if source.template is not None:
        # A brace that no path fills stays text.
        text = source.template
        for path in source.template_paths:
            text = text.replace(f"{{{path}}}", "{}", 1)
        return pl.format(text, *(value_at(path) for path in source.template_paths))
    if source.file is not None:
        return pl.lit(file).str.extract(source.file)
    return pl.lit(source.constant)


def _since_1970(value: pl.Expr) -> pl.Expr:
    """Returns seconds since 1970 as a time in UTC; 0, as databases write "never", is none."""
    seconds = value.cast(pl.Float64, strict=False)
    time = pl.from_epoch((seconds * 1e6).cast(pl.Int64, strict=False), "us")
    text = time.dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")
    return pl.when(seconds == 0).then(None).otherwise(pl.coalesce(text, value))


def _boolean(value: pl.Expr) -> pl.Expr:
    """Returns 1, 0 or, for another text, the text itself, which reading then refuses."""
    lower = value.str.to_lowercase()
    known = pl.when(lower.is_in(_TRUE)).then(pl.lit("1")).when(lower.is_in(_FALSE))
    return known.then(pl.lit("0")).otherwise(value)


def seconds_of(duration: pl.Expr) -> pl.Expr:
    """Returns ISO 8601 durations as seconds; another text stays, and reading then refuses it.

    >>> frame = pl.DataFrame({"took": ["PT1M30.5S", "P1DT1S", "soon"]})
    >>> frame.select(seconds_of(pl.col("took")))["took"].to_list()
    ['90.5', '86401.0', 'soon']
    """
    sign, *numbers = (pl.field(str(place)) for place in range(1, len(_SECONDS) + 2))
    total = pl.sum_horizontal(
        number.str.replace(",", ".").cast(pl.Float64).fill_null(0.0) * seconds
        for number, seconds in zip(numbers, _SECONDS, strict=True)
    )
    signed = pl.when(sign.is_null()).then(total).otherwise(-total)
    is_one = pl.any_horizontal(number.is_not_null() for number in numbers)
    parts = duration.str.extract_groups(_DURATION)
    seconds = parts.struct.with_fields(pl.when(is_one).then(signed).alias("seconds"))
    return pl.coalesce(seconds.struct.field("seconds").cast(pl.String), duration).name.keep()
