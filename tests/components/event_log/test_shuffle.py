"""Rows that go by way of the disk come back once each, whole, and in parts of any number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import Config
from components.errors import LogError, MasteryError
from components.event_log import log as log_module
from components.event_log import shuffle
from components.event_log.log import check_log
from components.event_log.shuffle import Parts, RunWriter, divide, group_files, read_part
from components.event_log.sources import LogFile

Configure = Callable[..., Config]
Write = Callable[..., None]


def spilled(folder: Path, parts: Parts, *frames: pl.DataFrame) -> list[pl.DataFrame]:
    """Returns the rows of each part after a way through `folder`."""
    runs = RunWriter(folder, "events", parts)
    for frame in frames:
        runs.add(frame)
    runs.flush()
    return [pl.concat(read_part(folder, "events", number)) for number in range(parts.count)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 5))
def test_every_row_comes_back_once_and_a_learner_is_in_one_part(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], shards: int, ranges: int
) -> None:
    rows = pl.DataFrame({"learner_id": ids, "row": range(len(ids))})
    folder = tmp_path_factory.mktemp("runs")
    parts = spilled(folder, Parts("seed", shards, ranges), rows[: len(ids) // 2], rows)
    assert all(part["row"].len() == 0 or part.schema == rows.schema for part in parts)
    again = sorted((row, learner) for part in parts for learner, row in part.iter_rows())
    assert again == sorted([*enumerate(ids[: len(ids) // 2]), *enumerate(ids)])
    assert sum(part["learner_id"].n_unique() for part in parts) == len(set(ids))


def test_types_and_missing_values_survive(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "learner_id": ["a", "b", "a"],
            "time": [datetime(2024, 3, 1, microsecond=7, tzinfo=UTC)] * 3,
            "unit": ["u", None, "vidéo"],
            "dwell": pl.Series([1.5, None, float("nan")], dtype=pl.Float32),
            "nothing": pl.Series([None] * 3, dtype=pl.String),
        }
    )
    parts = spilled(tmp_path, Parts("", 2, 2), rows)
    again = pl.concat(parts).sort("learner_id", maintain_order=True)
    assert again.equals(rows[[0, 2, 1]])
    assert again.schema == rows.schema


def test_rows_of_another_type_begin_another_run(tmp_path: Path) -> None:
    parts = Parts("", 1, 1)
    runs = RunWriter(tmp_path, "events", parts)
    runs.add(pl.DataFrame({"learner_id": ["a"], "time": [1]}))
    runs.add(pl.DataFrame({"learner_id": ["a"], "time": [1.5]}))
    runs.flush()
    runs.flush()
    chunks = read_part(tmp_path, "events", 0)
    assert [chunk["time"].to_list() for chunk in chunks] == [[1], [1.5]]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".arrow"] * 2


def test_a_second_try_replaces_the_runs_of_the_first(tmp_path: Path) -> None:
    rows = pl.DataFrame({"learner_id": ["a", "b"], "row": [1, 2]})
    spilled(tmp_path, Parts("", 1, 1), rows)
    [again] = spilled(tmp_path, Parts("", 1, 1), rows)
    assert again.equals(rows)


def test_the_number_of_ranges_grows_with_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.DataFrame({"row": range(1000)}).write_parquet(tmp_path / "events.parquet")
    Path(tmp_path / "events.csv").write_bytes(b"x" * 10_000)
    Path(tmp_path / "broken.parquet").write_bytes(b"PAR1")
    files = [
        LogFile(str(tmp_path / "events.parquet"), "parquet", 0),
        LogFile(str(tmp_path / "events.csv"), "csv", 1),
        LogFile(str(tmp_path / "broken.parquet"), "parquet", 2),
        LogFile(str(tmp_path / "missing.csv"), "csv", 3),
    ]
    assert divide(files, 9, "s", 8) == Parts("s", 8, 1)
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", 450)
    assert divide(files[:1], 9, "s", 2) == Parts("s", 2, 10)
    assert divide(files[:1], 90, "s", 2) == Parts("s", 2, 100)
    assert divide(files, 9, "s", 2) == Parts("s", 2, 12)


def test_small_files_are_read_together_and_large_ones_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle, "GROUP_BYTES", 100)
    files = []
    for index, size in enumerate((60, 30, 20, 500, 10)):
        path = tmp_path / f"{index}.csv"
        path.write_bytes(b"x" * size)
        files.append(LogFile(str(path), "csv", index))
    groups = group_files("events", files)
    assert [[file.index for file in group.files] for group in groups] == [[0, 1], [2], [3], [4]]
    assert {group.table for group in groups} == {"events"}
    assert group_files("events", []) == []


@pytest.fixture
def by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has logs of a few rows checked in parts."""
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", 150)
    monkeypatch.setattr(shuffle, "VALUES_PER_RUN", 250)


def test_a_log_in_parts_has_the_same_summary(
    write: Write, configure: Configure, events: pl.DataFrame, request: pytest.FixtureRequest
) -> None:
    odd = events[:9].with_columns(learner_id=pl.col("learner_id").cast(pl.String) + "\u200b")
    write(pl.concat([events.cast({"learner_id": pl.String}), odd, odd[:2]]))
    config = configure()
    whole = check_log(config)
    request.getfixturevalue("by_parts")
    assert check_log(config) == whole
    assert len(whole.warnings) > 1


@pytest.mark.usefixtures("by_parts")
def test_a_log_in_parts_has_the_same_problems_and_leaves_nothing(
    write: Write,
    configure: Configure,
    outcomes: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    write(outcomes=pl.concat([outcomes, outcomes[:2]]))
    with pytest.raises(LogError, match="one row per learner, unit and as_of") as error:
        check_log(configure())
    assert "; also in row 82" in str(error.value)
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("by_parts")
def test_a_temporary_folder_that_cannot_be_used_is_one_error(
    write: Write, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_module, "TemporaryDirectory", full)
    with pytest.raises(MasteryError, match=r"\(No space left on device\).*TMPDIR"):
        check_log(configure())


def test_runs_get_larger_with_the_parts_so_that_batches_do_not_get_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle, "VALUES_PER_RUN", 10)
    monkeypatch.setattr(shuffle, "PARTS_PER_RUN", 2)
    rows = [
        pl.DataFrame({"learner_id": [f"learner {place}"], "row": [place]}) for place in range(400)
    ]

    found = {}
    for ranges, runs in [(1, 80), (2, 40), (8, 10), (100, 10)]:  # cells of a run: 10, 20, 80, 80
        folder = tmp_path / str(ranges)
        folder.mkdir()
        parts = spilled(folder, Parts("seed", 2, ranges), *rows)
        assert len([*folder.iterdir()]) == runs
        found[ranges] = pl.concat(parts).sort("row")
    assert all(table.equals(found[1]) for table in found.values())
