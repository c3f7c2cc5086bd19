"""Logs that can be used: what is read, and what the summary says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from components.config import Config
from components.errors import LogError
from components.event_log.log import check_log, read_log
from components.event_log.log_spec import LogSpec

Configure = Callable[..., Config]


Write = Callable[..., None]


def test_says_what_is_in_a_good_log(write: Write, configure: Configure) -> None:
    write()
    summary = check_log(configure())

    assert (summary.events, summary.outcomes, summary.learners, summary.units) == (160, 80, 40, 1)
    assert (
        summary.first_event,
        summary.last_event,
        summary.first_outcome,
        summary.last_outcome,
    ) == (
        "0",
        "3",
        "2",
        "4",
    )
    assert summary.steps == {"0%": 2, "25%": 2, "50%": 2, "75%": 3, "95%": 3, "100%": 3}
    assert summary.truncated == 40
    assert sum(count for split in summary.splits.values() for count in split.values()) == 80
    assert "outcomes            80   as of 2 to 4" in summary.describe()


def test_says_which_spans_it_has_read(write: Write, configure: Configure, tmp_path: Path) -> None:
    write()
    for table in ("events", "outcomes"):
        (tmp_path / f"{table}.parquet").rename(tmp_path / f"{table}-2026-11-20.parquet")
    dated = {
        table: f"{tmp_path}/{table}-{{YYYY}}-{{MM}}-{{DD}}.parquet"
        for table in ("events", "outcomes")
    }
    shown = check_log(configure(data={**dated, "span": "last:7"})).describe()
    assert shown.splitlines()[0] == "spans     2026-11-20"


def test_cold_starts_up_to_the_configured_share(
    write: Write, configure: Configure, events: pl.DataFrame
) -> None:
    write(events.filter(pl.col("dwell") >= 48))
    assert check_log(configure(data={"max_cold_start_share": 0.3})).cold_starts == 24


def test_nan_as_missing(write: Write, configure: Configure, events: pl.DataFrame) -> None:
    write(
        events.with_columns(
            dwell=pl.when(pl.col("dwell") == 9).then(float("nan")).otherwise("dwell")
        )
    )
    assert check_log(configure(data={"nan_as_missing": True})).events == 160


def test_lines_add_up_to_rows_and_files_passed_over_are_reported(
    write: Write, configure: Configure, events: pl.DataFrame, tmp_path: Path
) -> None:
    write()
    folder = tmp_path / "days" / "unit_id=u"
    folder.mkdir(parents=True)
    noted = events.drop("unit_id").with_columns(note=pl.lit("one\ntwo"))
    noted[:100].write_csv(folder / "1.csv")
    noted[100:].drop("note").write_ndjson(folder / "2.jsonl")
    (folder / "2b.jsonl").symlink_to("2.jsonl")
    for name in ("3.csv", "_SUCCESS", ".1.csv.crc"):
        (folder / name).touch()
    summary = check_log(configure(data={"events": str(tmp_path / "days")}))
    assert summary.events == 160
    assert summary.lines == {"events": {"rows": 160, "header": 1, "within quotes": 100}}
    shown = summary.describe().splitlines()
    assert "lines              261   of events: 160 rows, 1 header, 100 within quotes" in shown
    assert (
        "not read  of events: 2 hidden or starting with _ (days/unit_id=u/.1.csv.crc, "
        "days/unit_id=u/_SUCCESS), "
        "1 already read under another name (days/unit_id=u/2b.jsonl), 1 empty (0 bytes) "
        "(days/unit_id=u/3.csv)"
    ) in shown


def test_compact_dates_are_dates(
    write: Write, configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    as_of = outcomes.with_columns(as_of=20240228120000 + pl.col("as_of"))
    write(events.with_columns(pl.col("time") + 20240226), as_of)
    summary = check_log(configure(data={"timezone": "Europe/Zurich"}))
    assert (summary.clock, summary.first_event) == ("timestamp", "2024-02-25T23:00:00+00:00")
    assert (summary.last_event, summary.first_outcome) == (
        "2024-02-28T23:00:00+00:00",
        "2024-02-28T11:00:02+00:00",
    )
    assert summary.steps["0%"] == 3

    write(events.with_columns(pl.col("time") + 20240227), as_of)
    with pytest.raises(LogError, match=r"numbers that are not dates.* first 20240230 in row 4 of "):
        check_log(configure())


def test_year_9999_as_int96_stays_in_the_future(
    configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame, tmp_path: Path
) -> None:
    far = pl.when(pl.col("time") == 1).then(datetime(9999, 12, 31)).otherwise(datetime(2024, 1, 1))  # noqa: DTZ001
    table = events.with_columns(time=far).to_arrow()
    pq.write_table(table, tmp_path / "events.parquet", use_deprecated_int96_timestamps=True)
    days = outcomes.with_columns(as_of=pl.datetime(2024, 2, pl.col("as_of")))
    days.write_parquet(tmp_path / "outcomes.parquet")
    summary = check_log(configure())
    assert summary.last_event == "9999-12-31T00:00:00+00:00"
    assert summary.steps == dict.fromkeys(summary.steps, 3)  # of four


def test_a_column_with_two_roles(
    configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame, tmp_path: Path
) -> None:
    paths = {table: str(tmp_path / f"{table}.csv") for table in ("events", "outcomes")}
    events.rename({"unit_id": "skill"}).write_csv(paths["events"])
    outcomes.rename({"unit_id": "skill"}).write_csv(paths["outcomes"])
    config = configure(
        data={**paths, "columns": {"unit_id": "skill"}},
        steps={"max_steps": 3, "features": {"skill": {"type": "categorical"}}},
    )
    log = read_log(config, splits=True, keys_only=False)
    assert log.total.units == {"u"}
    assert set(log.part.windows.events["skill"]) == {"u"}


@pytest.mark.parametrize("school", [["1", "2"], ["1.0", "2.0"], [1, 2], [1.0, 2.0]])
@pytest.mark.parametrize("as_csv", [True, False])
def test_a_category_is_the_same_whatever_its_type(
    school: list[Any],
    as_csv: bool,
    configure: Configure,
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    tmp_path: Path,
) -> None:
    events.with_columns(event_type=pl.Series(school * 80)).write_parquet(
        tmp_path / "events.parquet"
    )
    schools = outcomes.with_columns(school=pl.Series(school * 40))
    path = tmp_path / ("outcomes.csv" if as_csv else "outcomes.parquet")
    schools.write_csv(path) if as_csv else schools.write_parquet(path)
    config = configure(data={"outcomes": str(path)}, context={"school": {"type": "categorical"}})
    log = read_log(config, splits=True, keys_only=False)
    assert set(log.part.outcomes["school"]) == {"1", "2"}
    assert set(log.part.windows.events["event_type"]) == {"1", "2"}


def test_the_specification_of_a_log_keeps_the_order_of_features(configure: Configure) -> None:
    features = {"dwell": {"type": "numeric"}, "clicks": {"type": "numeric"}}
    spec = LogSpec.of(configure(steps={"features": features}))
    read = LogSpec.from_property(spec.to_property())
    assert read == spec
    assert list(read.features) == ["dwell", "clicks"]  # in examples too
