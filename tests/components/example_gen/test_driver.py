"""The driver with a real metadata store: which spans are read, their fingerprint and version."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.config import Config
from components.contracts.left_out import LeftOutList
from components.errors import ConfigError, LogError
from components.event_log.fingerprint import digest_files
from components.event_log.sources import LogFile
from components.example_gen.driver import next_version

Configure = Callable[..., Config]


Run = Callable[[Config], Path]


DATED = {table: f"{{YYYY}}-{{MM}}-{{DD}}/{table}.parquet" for table in ("events", "outcomes")}


@pytest.fixture
def days(log: Path) -> Path:
    """The log in three daily deliveries, a third of the learners each."""
    for table in DATED:
        whole = pl.read_parquet(log / f"{table}.parquet")
        for number, day in enumerate(("2026-11-18", "2026-11-19", "2026-11-20")):
            part = whole.filter(pl.col("learner_id").str.slice(1).cast(pl.Int64) % 3 == number)
            (log / day).mkdir(exist_ok=True)
            part.write_parquet(log / day / f"{table}.parquet")
    return log


def dated(folder: Path, configure: Configure, span: str) -> Config:
    return configure(
        **{table: f"{folder}/{pattern}" for table, pattern in DATED.items()}, span=span
    )


def properties(folder: Path, output: Path) -> dict[str, Any]:
    """Returns the custom properties of an output, as the metadata store has them."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(folder / "metadata.sqlite")
    [artifact] = MetadataStore(connection).get_artifacts_by_uri(str(output))
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in artifact.custom_properties.items()
    }


def summary(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "log_summary.json").read_text())
    return content


def test_one_span_a_window_and_all_of_them(days: Path, configure: Configure, run: Run) -> None:
    newest = run(dated(days, configure, "newest"))
    assert (summary(newest)["learners"], summary(newest)["spans"]) == (20, ["2026-11-20"])
    held = properties(days, newest)
    assert (held["span"], held["spans"], held["version"]) == (20777, "2026-11-20", 0)
    assert run(dated(days, configure, "2026-11-20")) == newest  # the same span in other words
    assert run(dated(days, configure, "20777")) == newest

    other = run(dated(days, configure, "2026-11-18"))
    assert (summary(other)["learners"], properties(days, other)["span"]) == (20, 20775)

    window = run(dated(days, configure, "last:2"))
    assert (summary(window)["learners"], summary(window)["spans"]) == (
        40,
        ["2026-11-19", "2026-11-20"],
    )
    assert (
        summary(window)["events"]
        == summary(run(dated(days, configure, "2026-11-19")))["events"]
        + (summary(newest)["events"])
    )
    every = run(dated(days, configure, "last:7"))  # there are only three
    whole = summary(run(configure()))
    assert {**summary(every), "files": 0, "spans": 0, "version": 0} == {
        **whole,
        "files": 0,
        "spans": 0,
        "version": 0,
    }
    assert (whole["spans"], whole["version"]) == ([], None)


def test_what_is_passed_over_is_in_the_log_of_the_run_and_in_the_summary(
    log: Path, configure: Configure, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mastery.example_gen")
    folder = log / "exports" / "course=c"
    folder.mkdir(parents=True)
    (log / "events.parquet").rename(folder / "events.parquet")
    (folder / "latest.parquet").symlink_to("events.parquet")
    (folder / "_SUCCESS").touch()
    found = summary(run(configure(events=str(log / "exports"))))
    reasons = (
        "1 hidden or starting with _ (exports/course=c/_SUCCESS), "
        "1 already read under another name (exports/course=c/latest.parquet)"
    )
    assert found["passed_over"] == {"events": reasons}
    assert found["events"] == 600
    assert f"Not read of events: {reasons}" in caplog.messages


def test_late_events_make_a_new_version(days: Path, configure: Configure, run: Run) -> None:
    window, other = dated(days, configure, "last:2"), dated(days, configure, "2026-11-18")
    first = run(window)
    run(other)
    file = days / "2026-11-19" / "events.parquet"
    kept = file.read_bytes()
    events = pl.read_parquet(file)
    pl.concat([events, events[:1].with_columns(pl.col("time").dt.offset_by("1m"))]).write_parquet(
        file
    )
    second = run(window)
    assert second != first
    assert (properties(days, second)["version"], summary(second)["version"]) == (1, 1)
    assert summary(second)["events"] == summary(first)["events"] + 1
    assert run(window) == second
    assert properties(days, run(other))["version"] == 0  # another span, another count

    file.write_bytes(kept)
    assert run(window) == first  # the content that was version 0 is version 0 again
    events[1:].write_parquet(file)
    assert properties(days, run(window))["version"] == 2


def test_versions_of_the_files_stay_theirs(days: Path, configure: Configure, run: Run) -> None:
    for version in (4, 6):
        shutil.copytree(days / "2026-11-20", days / "span-3" / f"v{version}")
    for number in (1, 2):
        shutil.copytree(days / f"2026-11-{17 + number}", days / f"span-{number}" / "v1")
    log = {table: f"{days}/span-{{SPAN}}/v{{VERSION}}/{table}.parquet" for table in DATED}
    assert properties(days, run(configure(**log)))["version"] == 6
    assert (
        properties(days, run(configure(**log, span="last:3")))["version"] == 0
    )  # files have one a span


def test_a_configuration_that_changes_leaves_the_version(
    days: Path, configure: Configure, run: Run
) -> None:
    config = dated(days, configure, "newest")
    first = run(config)
    other = run(
        config.model_copy(update={"steps": config.steps.model_copy(update={"max_steps": 2})})
    )
    assert other != first
    assert properties(days, other)["version"] == properties(days, first)["version"] == 0


def test_a_span_that_is_not_there(days: Path, configure: Configure, run: Run) -> None:
    with pytest.raises(
        LogError, match="expected the span 2026-11-01, found 2026-11-18, 2026-11-19, 2026-11-20"
    ):
        run(dated(days, configure, "2026-11-01"))


@given(st.lists(st.sampled_from("abcd"), max_size=20))
def test_versions_count_contents(deliveries: list[str]) -> None:
    known: list[tuple[str, int]] = []
    for fingerprint in deliveries:
        known.append((fingerprint, next_version(known, fingerprint)))
    first_seen = list(dict.fromkeys(deliveries))
    assert known == [(fingerprint, first_seen.index(fingerprint)) for fingerprint in deliveries]


def test_depends_on_what_is_in_the_files_and_nothing_else(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("a")
    second.write_text("b")
    files = [LogFile(str(first), "csv", 0), LogFile(str(second), "csv", 1)]
    digest = digest_files([("events", files)])

    os.utime(first, (1, 1))
    assert digest_files([("events", files)]) == digest
    assert digest_files([("events", files[::-1])]) != digest
    assert digest_files([("outcomes", files)]) != digest

    before = first.stat()
    first.write_text("c")
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digest_files([("events", files)]) != digest


def test_depends_on_what_the_folders_say_of_the_files(tmp_path: Path) -> None:
    digests = set()
    for folder in ("unit_id=a", "unit_id=b", "plain", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "e.csv").write_text("a")
        digests.add(
            digest_files([("events", [LogFile(str(tmp_path / folder / "e.csv"), "csv", 0)])])
        )
    assert len(digests) == 3


def test_who_is_left_out_is_new_data(
    log: Path, configure: Configure, run: Run, tmp_path: Path
) -> None:
    known = LeftOutList.empty()
    listed = str(known.write(tmp_path))
    first = run(configure(left_out=listed))
    assert run(configure(left_out=listed)) == first
    assert summary(first)["learners"] == 60

    known.adding(["l7"], "erased").write(tmp_path)
    second = run(configure(left_out=listed))
    assert summary(second)["learners"] == 59
    before, after = (properties(log, folder)["input_fingerprint"] for folder in (first, second))
    assert before != after


@pytest.mark.usefixtures("log")
def test_without_the_list_nothing_is_read(configure: Configure, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.left_out: .*could not be read"):
        run(configure(left_out=str(tmp_path / "left-out.json")))


def test_a_changed_lookup_or_list_of_values_is_new_data(
    log: Path, configure: Configure, run: Run, tmp_path: Path
) -> None:
    kinds = tmp_path / "kinds.csv"
    kinds.write_text("name,weight\nquiz,1\nvid\u00e9o,2\n", encoding="utf-8")
    staff = tmp_path / "staff.txt"
    staff.write_text("l7\n", encoding="utf-8")
    config = configure(
        lookups={"kinds": {"table": str(kinds), "key": "name", "path": "event_type"}},
        mapping={"dwell": ["lookups.kinds.weight"]},
        leave_out={"staff": [{"learner_id": {"file": str(staff)}}]},
    )
    first = run(config)
    assert run(config) == first  # from the cache

    kinds.write_text("name,weight\nquiz,1\nvid\u00e9o,3\n", encoding="utf-8")
    second = run(config)
    staff.write_text("l7\nl8\n", encoding="utf-8")
    third = run(config)
    assert run(config) == third
    found = [properties(log, folder)["input_fingerprint"] for folder in (first, second, third)]
    assert len({*found}) == 3
    assert summary(second)["events"] - summary(third)["events"] == 9  # one has no type

    kinds.unlink()
    with pytest.raises(LogError, match=r"kinds\.csv: expected a file that data\.lookups or data"):
        run(config)
