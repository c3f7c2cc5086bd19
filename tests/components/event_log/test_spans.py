"""Which deliveries of a log are read."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.spans import NEWEST
from components.errors import LogError
from components.event_log.spans import ChosenSpans, Span, choose_spans

DAYS = "{YYYY}-{MM}-{DD}"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def deliver(folder: Path, *spans: str) -> tuple[str, str]:
    """Creates both tables in one folder per span; returns their patterns."""
    touch(folder, *(f"{span}/{table}.csv" for span in spans for table in ("events", "outcomes")))
    place = DAYS if "-" in spans[0] else "{SPAN}"
    return f"{folder}/{place}/events.csv", f"{folder}/{place}/outcomes.csv"


def test_without_placeholders_nothing_is_looked_for() -> None:
    assert choose_spans(["/log/events.csv"], "last:7") == ChosenSpans(
        (), {"/log/events.csv": ["/log/events.csv"]}
    )


def test_newest_span_and_version(tmp_path: Path) -> None:
    for table in ("events", "outcomes"):
        touch(
            tmp_path, *(f"span-{name}/{table}.csv" for name in ("2/v1", "10/v1", "10/v3", "9/v7"))
        )
    events, outcomes = (
        f"{tmp_path}/span-{{SPAN}}/v{{VERSION}}/{table}.csv" for table in ("events", "outcomes")
    )
    chosen = choose_spans([events, outcomes], NEWEST)
    assert chosen.spans == (Span(10, "10", 3),)
    assert chosen.fill([outcomes]) == [f"{tmp_path}/span-10/v3/outcomes.csv"]
    window = choose_spans([events, outcomes], "last:2")
    assert window.fill([events]) == [
        f"{tmp_path}/span-9/v7/events.csv",
        f"{tmp_path}/span-10/v3/events.csv",
    ]


def test_padding_widths_and_dates(tmp_path: Path) -> None:
    touch(tmp_path, "n/07/e.csv", "n/08/e.csv", "w/20261120.csv", "w/20261119.csv", "w/2026.csv")
    touch(tmp_path, "d/2024-02-29/e.csv", "d/2023-12-31/e.csv")
    assert choose_spans([f"{tmp_path}/n/{{SPAN}}/e.csv"], NEWEST).patterns == {
        f"{tmp_path}/n/{{SPAN}}/e.csv": [f"{tmp_path}/n/08/e.csv"]
    }
    for pattern in ("{SPAN:8}", "{YYYY}{MM}{DD}"):
        [path] = choose_spans([f"{tmp_path}/w/{pattern}.csv"], NEWEST).fill(
            [f"{tmp_path}/w/{pattern}.csv"]
        )
        assert path == f"{tmp_path}/w/20261120.csv"
    [leap_day] = choose_spans([f"{tmp_path}/d/{DAYS}/e.csv"], NEWEST).spans
    assert leap_day == Span(19782, "2024-02-29")


def test_a_span_by_its_date_or_its_number(tmp_path: Path) -> None:
    patterns = deliver(tmp_path, "2026-11-18", "2026-11-20")
    for choice in ("2026-11-18", "20775"):
        assert choose_spans(patterns, choice).names == ["2026-11-18"]
    assert choose_spans(deliver(tmp_path / "n", "3", "12"), "3").names == ["3"]


def test_folders_without_files_and_with_other_names_are_no_spans(tmp_path: Path) -> None:
    patterns = deliver(tmp_path, "2026-11-20")
    (tmp_path / "2026-11-21").mkdir()
    touch(tmp_path, "latest/events.csv", "2026-11-22/notes.txt")
    assert choose_spans(patterns, "last:3").names == ["2026-11-20"]


def test_a_window_in_the_past_and_the_spans_before_it(tmp_path: Path) -> None:
    patterns = deliver(tmp_path, *map(str, range(1, 7)))
    window = choose_spans(patterns, "last:2 until 4", with_older=True)
    assert window.names == ["3", "4"]
    assert window.older is not None
    assert window.older.names == ["1", "2"]
    assert window.older.fill(patterns) == choose_spans(patterns, "last:2 until 2").fill(patterns)
    # The newest spans that exist by then; there may be fewer, or none before them.
    assert choose_spans(patterns, "last:2 until 40").names == ["5", "6"]
    assert choose_spans(patterns, "last:9 until 2", with_older=True).older is None
    assert choose_spans(patterns, "last:2").older is None
    with pytest.raises(LogError, match="expected a span of 0 or before, found 1 as the first"):
        choose_spans(patterns, "last:2 until 0")


def test_patterns_with_wildcards_and_folders(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "2026-11-20/a/part-1.parquet",
        "2026-11-20/b/part-2.parquet",
        "2026-11-19/part.csv",
    )
    for pattern in (
        f"{DAYS}/**/part-[0-9].parquet",
        f"{DAYS}/*/part-?.parquet",
        f"{DAYS}/[!c]",
        DAYS,
    ):
        assert choose_spans([f"{tmp_path}/{pattern}"], NEWEST).names == ["2026-11-20"]


def test_what_is_hidden_is_no_delivery_and_brackets_above_are_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "[x]/a/7/e.csv", "[x]/_temporary/9/e.csv", "[x]/.old/8/e.csv", "[x]/_10/e.csv")
    pattern = f"{tmp_path}/[[]x]/**/{{SPAN}}/e.csv"
    assert choose_spans([pattern], "last:3").fill([pattern]) == [f"{tmp_path}/[[]x]/**/7/e.csv"]
    (tmp_path / "[x]/a/11").symlink_to("7")
    assert choose_spans([pattern], NEWEST).names == ["11"]


def test_a_table_without_spans_is_read_as_it_is(tmp_path: Path) -> None:
    _, outcomes = deliver(tmp_path, "2026-11-18", "2026-11-20")
    chosen = choose_spans([f"{tmp_path}/**/events.csv", outcomes], "last:2")
    assert chosen.fill([f"{tmp_path}/**/events.csv"]) == [f"{tmp_path}/**/events.csv"]
    assert len(chosen.fill([outcomes])) == 2


def test_half_a_delivery_is_an_error_that_names_what_there_is(tmp_path: Path) -> None:
    patterns = deliver(tmp_path, "1", "2")
    touch(tmp_path, "3/events.csv")
    with pytest.raises(LogError) as error:
        choose_spans(patterns, NEWEST)
    assert error.value.problems == [
        f"{tmp_path}/{{SPAN}}/outcomes.csv: expected the span 3, found 1, 2; "
        "2 is the newest that all patterns have (data.span)"
    ]
    assert choose_spans(patterns, "2").names == ["2"]


def test_a_span_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    patterns = deliver(tmp_path, *(f"2026-11-{day:02}" for day in range(1, 12)))
    with pytest.raises(LogError) as error:
        choose_spans(patterns, "2026-11-20")
    found = ", ".join(f"2026-11-{day:02}" for day in range(4, 12))
    assert len(error.value.problems) == 2
    assert (
        f"expected the span 2026-11-20, found 3 more and {found}; 2026-11-11 is"
        in error.value.problems[0]
    )


def test_versions_that_differ(tmp_path: Path) -> None:
    touch(tmp_path, "events-4-v1.csv", "outcomes-4-v2.csv")
    patterns = [f"{tmp_path}/{table}-{{SPAN}}-v{{VERSION}}.csv" for table in ("events", "outcomes")]
    with pytest.raises(
        LogError, match=r"expected the same newest version of span 4 .*, found version 1"
    ):
        choose_spans(patterns, NEWEST)


def test_no_match_and_no_date(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"expected files that match, with digits for .*found none"):
        choose_spans([f"{tmp_path}/{{SPAN}}/events.csv"], NEWEST)
    touch(tmp_path, "2026-02-30/events.csv")
    with pytest.raises(
        LogError, match=r"2026-02-30/events.csv: expected a date at .*, found 2026-02-30"
    ):
        choose_spans([f"{tmp_path}/{DAYS}/events.csv"], NEWEST)


@pytest.mark.parametrize(
    "pattern", ["{YYYY}/{MM}/e.csv", "{SPAN}/{SPAN}.csv", "v{VERSION}.csv", "{SPAN}-{DD}.csv"]
)
def test_placeholders_that_make_no_span(pattern: str) -> None:
    with pytest.raises(LogError, match=r"expected one \{SPAN\}, or one each of"):
        choose_spans([pattern], NEWEST)


@given(
    offsets=st.sets(st.integers(0, 800), min_size=1, max_size=12),
    last=st.integers(1, 14),
)
def test_a_window_is_the_newest_that_exist(offsets: set[int], last: int) -> None:
    days = sorted(date(2025, 1, 1) + timedelta(days=offset) for offset in offsets)
    with tempfile.TemporaryDirectory() as folder:
        patterns = deliver(Path(folder), *map(str, days))
        chosen = choose_spans(patterns, f"last:{last}")
        assert chosen.names == [str(day) for day in days[-last:]]
        for table, pattern in zip(("events", "outcomes"), patterns, strict=True):
            assert chosen.fill([pattern]) == [
                f"{folder}/{name}/{table}.csv" for name in chosen.names
            ]
        assert choose_spans(patterns, str(days[0])).names == [str(days[0])]
        for newest in (str(days[-1]), "last:1"):
            assert choose_spans(patterns, newest) == choose_spans(patterns, NEWEST)


def test_numbers_and_dates_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="or dates in all of them, found both"):
        choose_spans([f"{tmp_path}/{DAYS}/e.csv", f"{tmp_path}/{{SPAN}}/o.csv"], NEWEST)


def test_a_path_that_only_the_glob_matches_is_no_span(tmp_path: Path) -> None:
    touch(tmp_path, "12x/e.csv", "3/e.csv")
    assert choose_spans([f"{tmp_path}/{{SPAN}}/e.csv"], NEWEST).names == ["3"]
