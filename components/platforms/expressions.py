"""Applies a mapping to records: Polars expressions over raw columns, all of them text."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl

from components.config.mapping import split_path

if TYPE_CHECKING:
    from components.config.mapping import Condition, EventMapping, Rule, Source

SECONDS = "%s"  # the format of seconds since 1970
_TRUE = ("true", "yes", "1", "1.0", "t", "y")
_FALSE = ("false", "no", "0", "0.0", "f", "n")
# Years and months have no fixed length: those of xAPI's own table, 365 days and 30.
_DURATION = (
    r"^(-)?P(?:([\d.]+)Y)?(?:([\d.]+)M)?(?:([\d.]+)W)?(?:([\d.]+)D)?"
    r"(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?$"
)
_SECONDS = (365 * 86400.0, 30 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0)


_Ways = dict[str, list[str | int]]  # by path, the steps to its value


def raw_columns(mapping: EventMapping, columns: Iterable[str]) -> list[str]:
    """Returns the columns of a record that are read to find some columns of events."""
    paths = [*paths_to(mapping, columns), *paths_of_rules(mapping)]
    return [*dict.fromkeys(str(split_path(path)[0]) for path in paths)]


def paths_to(mapping: EventMapping, columns: Iterable[str]) -> list[str]:
    """Returns the paths that the values of columns of events are found at."""
    return [path for column in columns for path in _paths_of(mapping, column)]


def paths_of_rules(mapping: EventMapping) -> list[str]:
    """Returns the paths that rules about records ask for."""
    return [path for rule in mapping.leave_out.values() for item in rule for path in item]


def _paths_of(mapping: EventMapping, column: str) -> list[str]:
    sources = mapping.columns.get(column)
    if sources is None:
        return [f'"{column}"']  # a column that is not mapped is the record's own
    return [path for source in sources for path in source.paths]


def keys_of(mapping: EventMapping, column: str) -> list[str]:
    """Returns the columns of a record that a column of events is made from."""
    return [*dict.fromkeys(str(split_path(path)[0]) for path in _paths_of(mapping, column))]


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
        for values in _values_within(children[str(step)], group)
    ]
    return [*found, *pl.DataFrame(below)[rows["row"]].get_columns()]


def _children(texts: pl.Series, steps: list[str | int]) -> pl.DataFrame:
    """Returns the values one step within texts of JSON, in columns named by the steps."""
    is_object = texts.str.starts_with("{").fill_null(value=False)
    names = [step for step in steps if isinstance(step, str)]
    parsed = _parse_objects(texts.filter(is_object), names) if names else None
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
    return frame if frame.height == len(texts) else None


def _child(texts: pl.Series, step: str | int) -> pl.Expr:
    query = f"$[{step}]" if isinstance(step, int) else f"$['{step}']"
    return pl.lit(texts).str.json_path_match(query).alias(str(step))


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
    if not sources:
        return pl.lit(None, pl.String).alias(column)
    return pl.coalesce(_value_of(source, file) for source in sources).alias(column)


def meets(rule: Rule) -> pl.Expr:
    """Returns which records a rule is about."""
    return pl.any_horizontal(_meets_all(conditions) for conditions in rule)


def _meets_all(conditions: dict[str, Condition]) -> pl.Expr:
    return pl.all_horizontal(_meets(path, wanted) for path, wanted in conditions.items())


def _meets(path: str, wanted: Condition) -> pl.Expr:
    value = value_at(path)
    found = value.str.contains(wanted) if isinstance(wanted, str) else value.is_in(wanted)
    return found.fill_null(value=False)


def _value_of(source: Source, file: str) -> pl.Expr:
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
        less = value_at(source.minus).cast(pl.Float64, strict=False)
        value = (value.cast(pl.Float64, strict=False) - less).cast(pl.String)
    if source.over is not None:
        whole = value_at(source.over).cast(pl.Float64, strict=False)
        share = value.cast(pl.Float64, strict=False) / whole
        value = pl.when(whole > 0).then(share).cast(pl.String)
    if source.format == SECONDS:
        value = _since_1970(value)
    elif source.format is not None:
        value = value.str.to_datetime(source.format, strict=False).dt.to_string("iso:strict")
    if source.unless:
        value = pl.when(~_meets_all(source.unless)).then(value)
    return pl.when(_meets_all(source.when)).then(value) if source.when else value


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
        number.cast(pl.Float64).fill_null(0.0) * seconds
        for number, seconds in zip(numbers, _SECONDS, strict=True)
    )
    signed = pl.when(sign.is_null()).then(total).otherwise(-total)
    is_one = pl.any_horizontal(number.is_not_null() for number in numbers)
    parts = duration.str.extract_groups(_DURATION)
    seconds = parts.struct.with_fields(pl.when(is_one).then(signed).alias("seconds"))
    return pl.coalesce(seconds.struct.field("seconds").cast(pl.String), duration).name.keep()
