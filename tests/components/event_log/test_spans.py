from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import LogError
from components.event_log.spans import Newest, find_newest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of TFX's imports


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_without_placeholders() -> None:
    assert find_newest(["/log/events.csv"]) == Newest(0, None, {"/log/events.csv": "/log/events.csv"})


def test_newest_span_and_version(tmp_path: Path) -> None:
    for table in ("events", "outcomes"):
        touch(tmp_path, *(f"span-{name}/{table}.csv" for name in ("2/v1", "10/v1", "10/v3", "9/v7")))
    events, outcomes = (f"{tmp_path}/span-{{SPAN}}/v{{VERSION}}/{table}.csv" for table in ("events", "outcomes"))
    newest = find_newest([events, outcomes])
    assert (newest.span, newest.version) == (10, 3)
    assert newest.patterns[outcomes] == f"{tmp_path}/span-10/v3/outcomes.csv"


def test_padded_numbers_and_dates(tmp_path: Path) -> None:
    touch(tmp_path, "n/07/e.csv", "n/08/e.csv", "d/2024-02-29/e.csv", "d/2023-12-31/e.csv")
    (padded,) = find_newest([f"{tmp_path}/n/{{SPAN}}/e.csv"]).patterns.values()
    assert padded == f"{tmp_path}/n/08/e.csv"
    newest = find_newest([f"{tmp_path}/d/{{YYYY}}-{{MM}}-{{DD}}/e.csv"])
    assert (newest.span, *newest.patterns.values()) == (19782, f"{tmp_path}/d/2024-02-29/e.csv")


def test_tables_of_different_spans(tmp_path: Path) -> None:
    touch(tmp_path, "1/events.csv", "2/events.csv", "1/outcomes.csv")
    with pytest.raises(LogError, match=r"expected the same newest span and version .*, found .*/2/events.csv"):
        find_newest([f"{tmp_path}/{{SPAN}}/events.csv", f"{tmp_path}/{{SPAN}}/outcomes.csv"])


def test_no_match(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"expected files that match, with numbers for .*found none"):
        find_newest([f"{tmp_path}/{{SPAN}}/events.csv"])
