"""The words for which spans are read, and what is wrong with them."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest
import yaml

from components.config import load_config
from components.config.spans import SpanChoice, describe_spans, name_of, number_of, parse_span
from components.errors import ConfigError

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"
DATED = [
    "data.events=log/{YYYY}-{MM}-{DD}/events.parquet",
    "data.outcomes=log/{YYYY}-{MM}-{DD}/outcomes.parquet",
]
NUMBERED = [override.replace("{YYYY}-{MM}-{DD}", "{SPAN}") for override in DATED]


@pytest.mark.parametrize(
    ("text", "choice", "canonical"),
    [
        ("newest", SpanChoice(), "newest"),
        ("2026-11-20", SpanChoice(given=date(2026, 11, 20)), "2026-11-20"),
        ("42", SpanChoice(given=42), "42"),
        ("last:7", SpanChoice(last=7), "last:7"),
        ("{last: 7}", SpanChoice(last=7), "last:7"),
        ("last:1", SpanChoice(), "newest"),
        ("last:3 until 42", SpanChoice(last=3, until=42), "last:3 until 42"),
        (
            "last:1 until 2026-11-20",
            SpanChoice(until=date(2026, 11, 20)),
            "last:1 until 2026-11-20",
        ),
    ],
)
def test_every_way_to_write_a_choice(text: str, choice: SpanChoice, canonical: str) -> None:
    for value in (text, yaml.safe_load(text)):
        if value != "{last: 7}":
            assert parse_span(value) == choice
            assert str(parse_span(value)) == canonical
    assert (
        load_config(CONFIG, [*(DATED if "-" in text else NUMBERED), f"data.span={text}"]).data.span
        == canonical
    )


@pytest.mark.parametrize(
    "value", ["oldest", "last:0", "last:-1", "-3", "2026-02-30", "", True, None, 1.5,
              {"last": "x"}, {"first": 1}, datetime(2026, 11, 20)],  # noqa: DTZ001
)  # fmt: skip
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(
        ValueError, match="expected newest, a date such as 2026-11-20, a number, or last: 7"
    ):
        parse_span(value)


def test_dates_have_tfx_s_numbers_and_names_of_their_own() -> None:
    day = date(2026, 11, 20)
    assert number_of(day) == SpanChoice(given=day).number == 20777
    assert (name_of(20777, "date"), name_of(42, "number")) == ("2026-11-20", "42")
    assert describe_spans(["42"]) == "42"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.span=last:7"], r"data.span: expected \{SPAN\} or .* with span last:7, found none"),
        (["data.span=newst"], r"data.span: .*, found 'newst'; did you mean newest\?$"),
        ([*DATED, "data.span=soon"], "data.span: expected newest, a date .*, found 'soon'"),
        ([*NUMBERED, "data.span=2026-11-20"], r"expected a number, as the patterns have \{SPAN\}"),
        ([DATED[0], NUMBERED[1]], r"data\.outcomes: expected \{SPAN\} .*, found both"),
        (["data.events=[a.csv, '{SPAN}{SPAN}/b.csv']"], r"data\.events\[1\]: expected one"),
        (["data.events=log/{YYYY}/{MM}/events.csv"], r"expected one \{SPAN\}, or one each of"),
    ],
)
def test_a_choice_that_does_not_fit_the_patterns(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(CONFIG, overrides)
