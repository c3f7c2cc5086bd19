"""Mappings give what a plain reading of the same mapping gives, record by record."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.config.mapping import EventMapping, Source
from components.config.record_paths import Conditions, split_path
from components.event_log.chunks import Chunk
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.platforms.expressions import seconds_of

# Shrinking a failure would read hundreds of files more.
PHASES = (Phase.explicit, Phase.generate)
TEXTS = st.sampled_from(["a", "b", "ab", "1", "2.5", "0", "-3", "true", "PT5S", "é", "x y", "[a"])
LEAVES = TEXTS | st.integers(-5, 5) | st.booleans() | st.none() | st.just("")
NESTED = st.fixed_dictionaries(
    {}, optional={"p": LEAVES, "it's": LEAVES, "d.o": LEAVES, "l": st.lists(LEAVES, max_size=2)}
)
RECORDS = st.fixed_dictionaries(
    {}, optional={"u": LEAVES, "v": LEAVES, "o": NESTED, "t": NESTED.map(json.dumps)}
)
PATHS = st.sampled_from(
    ["u", "v", "o.p", "o.l[0]", "o.l[1]", "t.p", "t.l[0]", 'o."it\'s"', 'o."d.o"', "o.none"]
)
PATTERNS = st.sampled_from(["(a)", "^(.)", "b(.*)$", r"(\d+)", "(?i)(A|É)"])
CONDITIONS = st.dictionaries(
    PATHS, st.lists(TEXTS, min_size=1) | st.sampled_from(["a", r"^\d", "^$"]), max_size=2
)


@st.composite
def sources(draw: st.DrawFn) -> dict[str, Any]:
    origin = draw(
        st.one_of(
            st.fixed_dictionaries({"from": PATHS}),
            st.fixed_dictionaries({"template": st.builds("{{{}}}-{{{}}}".format, PATHS, PATHS)}),
            st.fixed_dictionaries({"constant": TEXTS}),
            st.fixed_dictionaries({"file": st.sampled_from([r"log\.(\w+)$", "(none)"])}),
        )
    )
    rest = st.fixed_dictionaries(
        {},
        optional={
            "pattern": PATTERNS,
            "values": st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=3),
            "only_values": st.booleans(),
            "equals": PATHS,
            "as": st.sampled_from(["text", "boolean"]),
            "minus": PATHS,
            "over": PATHS | st.just("2"),
            "when": CONDITIONS,
            "unless": CONDITIONS,
        },
    )
    return {**origin, **draw(rest)}


def plain_value(record: dict[str, Any], path: str) -> str | None:
    value: Any = record
    for part in split_path(path):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                return None
        kind = list if isinstance(part, int) else dict
        if not isinstance(value, kind):
            return None
        try:
            value = value[part]
        except (KeyError, IndexError):
            return None
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain_meets(record: dict[str, Any], conditions: Conditions) -> bool:
    for path, wanted in conditions.items():
        value = plain_value(record, path)
        if value is None:
            return False
        assert isinstance(wanted, list | str)
        met = re.search(wanted, value) if isinstance(wanted, str) else value in wanted
        if not met:
            return False
    return True


def plain_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def plain_origin(source: Source, record: dict[str, Any], file: str) -> str | None:
    if source.from_ is not None:
        return plain_value(record, source.from_)
    if source.template is not None:
        parts = [plain_value(record, path) for path in source.template_paths]
        return None if None in parts else "-".join(map(str, parts))
    if source.file is not None:
        found = re.search(source.file, file)
        return found[1] if found else None
    return source.constant


def plain_source(source: Source, record: dict[str, Any], file: str) -> str | None:
    if not plain_meets(record, source.when):
        return None
    if source.unless and plain_meets(record, source.unless):
        return None
    value = plain_origin(source, record, file)
    if value is not None and source.pattern is not None:
        found = re.search(source.pattern, value)
        value = found[1] if found else None
    if value is not None and source.values:
        value = source.values.get(value, None if source.only_values else value)
    if value is not None and source.equals is not None:
        other = plain_value(record, source.equals)
        value = None if other is None else str(int(value == other))
    if value is not None and source.as_ == "boolean":
        value = {"true": "1", "0": "0", "1": "1"}.get(value.lower(), value)
    if value is not None and source.minus is not None:
        value = plain_difference(value, plain_value(record, source.minus))
    if value is not None and source.over is not None:
        is_number = source.divisor is not None
        value = plain_share(value, source.over if is_number else plain_value(record, source.over))
    return value


def plain_difference(value: str, other: str | None) -> str | None:
    if other is None:
        return None
    numbers = plain_number(value), plain_number(other)
    if numbers[0] is None or numbers[1] is None:
        return f"{value} - {other}"
    return str(numbers[0] - numbers[1])


def plain_share(value: str, whole: str | None) -> str | None:
    if whole is None:
        return None
    numbers = plain_number(value), plain_number(whole)
    if numbers[1] is not None and numbers[1] <= 0:
        return None
    if numbers[0] is None or numbers[1] is None:
        return f"{value} / {whole}"
    return str(numbers[0] / numbers[1])


def same(found: str | None, expected: str | None) -> bool:
    if found is None or expected is None:
        return found is expected
    numbers = plain_number(found), plain_number(expected)
    return found == expected or (None not in numbers and numbers[0] == numbers[1])


def read(file: LogFile, columns: list[str], mapping: EventMapping) -> pl.DataFrame:
    items = [*read_chunks(file, columns, mapping)]
    assert not [str(item) for item in items if isinstance(item, Problem)]
    return pl.concat(item.frame for item in items if isinstance(item, Chunk))


@given(st.lists(RECORDS, min_size=1, max_size=6), st.lists(sources(), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
def test_a_mapping_gives_what_a_plain_reading_gives(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[dict[str, Any]],
    ways: list[dict[str, Any]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "log.jsonl"
    lines = [json.dumps({"row": row, **record}) for row, record in enumerate(records)]
    path.write_text("\n".join(lines), encoding="utf-8")
    mapping = EventMapping.model_validate({"columns": {"x": ways}})
    file = LogFile(str(path), "jsonl", 0)

    frame = read(file, ["row", "x"], mapping)

    assert frame.height == len(records)
    for record, found in zip(records, frame["x"], strict=True):
        values = (plain_source(source, record, file.path) for source in mapping.columns["x"])
        expected = next((value for value in values if value is not None), None)
        assert same(found, expected), (record, found, expected)


@given(st.lists(RECORDS, min_size=1, max_size=6), st.lists(CONDITIONS, min_size=1, max_size=2))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
def test_a_rule_leaves_out_what_a_plain_reading_does(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[dict[str, Any]],
    rule: list[dict[str, Any]],
) -> None:
    rule = [conditions for conditions in rule if conditions] or [{"u": "a"}]
    path = tmp_path_factory.getbasetemp() / "rules.jsonl"
    lines = [json.dumps({"row": row, **record}) for row, record in enumerate(records)]
    path.write_text("\n".join(lines), encoding="utf-8")
    mapping = EventMapping.model_validate({"leave_out": {"rule": rule}})

    items = [*read_chunks(LogFile(str(path), "jsonl", 0), ["row"], mapping)]

    chunks = [item for item in items if isinstance(item, Chunk)]
    [conditions] = mapping.leave_out.values()
    expected = [
        row
        for row, record in enumerate(records)
        if not any(plain_meets(record, item) for item in conditions)
    ]
    assert [int(row) for chunk in chunks for row in chunk.frame["row"]] == expected
    assert [row for chunk in chunks for row in chunk.numbers] == [row + 1 for row in expected]
    left_out = len(records) - len(expected)
    assert sum(hint.count for chunk in chunks for hint in chunk.hints) == left_out
    assert sum(chunk.lines["left out"] for chunk in chunks) == left_out
    assert sum(chunk.lines.total() for chunk in chunks) == len(records)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1M30.5S", "90.5"),
        ("PT1,5S", "1.5"),
        ("P1DT1S", "86401.0"),
        ("P1W", "604800.0"),
        ("-PT2S", "-2.0"),
        ("PT", "PT"),
        ("P", "P"),
        ("PT1.2.3S", "PT1.2.3S"),
        ("90", "90"),
        (None, None),
    ],
)
def test_durations(text: str | None, seconds: str | None) -> None:
    frame = pl.DataFrame({"took": [text]}, schema={"took": pl.String})
    assert frame.select(seconds_of(pl.col("took"))).item() == seconds


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)))  # noqa: DTZ001
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
def test_times_in_a_format_come_back(
    tmp_path_factory: pytest.TempPathFactory, at: datetime
) -> None:
    path = tmp_path_factory.getbasetemp() / "times.jsonl"
    layout = "%d.%m.%Y %H:%M:%S"
    path.write_text(json.dumps({"at": at.strftime(layout)}))
    mapping = EventMapping.model_validate({"columns": {"x": {"from": "at", "format": layout}}})
    frame = read(LogFile(str(path), "jsonl", 0), ["x"], mapping)
    [text] = frame["x"]
    found = datetime.fromisoformat(text)
    assert found.replace(tzinfo=UTC) == at.replace(microsecond=0, tzinfo=UTC)


def test_the_first_format_that_fits_counts(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("at,n\n2.3.2026,1\n2026-03-02,2\nsoon,3\n")
    ways = [{"from": "at", "format": "%d.%m.%Y"}, {"from": "at", "format": "%Y-%m-%d"}]
    mapping = EventMapping.model_validate({"columns": {"x": ways}})
    frame = read(LogFile(str(tmp_path / "log.csv"), "csv", 0), ["x", "n"], mapping)
    assert [text and text[:10] for text in frame["x"]] == ["2026-03-02", "2026-03-02", None]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"columns": {"x": {"from": "a", "format": "%d.%m"}}},
            "data.mapping.x: expected a format with year, month and day, such as %d.%m.%Y %H:%M, "
            "found '%d.%m'",
        ),
        (
            {"columns": {"x": ["b", {"from": "a", "pattern": r"((?:\d{1000}){1000})"}]}},
            "data.mapping.x.1: expected a regular expression as Rust reads it, found",
        ),
        (
            {"leave_out": {"y": {"a.b": r"(?:\w{1000}){1000}"}}},
            "data.leave_out.y.a.b: expected a regular expression as Rust reads it, found",
        ),
    ],
)
def test_what_only_polars_refuses_is_said_before_reading(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    mapping = EventMapping.model_validate(changes)
    items = [*read_chunks(LogFile(str(tmp_path / "none.csv"), "csv", 0), ["x"], mapping)]
    [found] = items
    assert isinstance(found, Problem)
    assert str(found).startswith(problem)
