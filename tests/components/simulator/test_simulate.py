"""The log that is written: its files, and the columns of its tables."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from components.contracts.simulation import Simulation
from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.sequences import CHUNK, Sequences
from components.simulator.simulate import simulate
from components.simulator.tables import EVENTS, OUTCOMES, events_table, outcomes_table

PARQUET = {"events.parquet", "outcomes.parquet", Simulation.FILE}


TWO_CHUNKS = CHUNK + 40


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    simulate(TWO_CHUNKS, 5, folder)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def first(table: Path, learners: int) -> pl.DataFrame:
    last = f"learner-{learners - 1:07d}"
    return pl.read_parquet(table).filter(pl.col("learner_id") <= last)


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    for place in ("one", "two"):
        simulate(30, 5, tmp_path / place)
    assert names(tmp_path / "one") == PARQUET
    for name in PARQUET:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_first_learners_are_the_same_however_many_follow(large: Path, tmp_path: Path) -> None:
    simulate(30, 5, tmp_path)
    for name in ("events.parquet", "outcomes.parquet"):
        assert_frame_equal(first(large / name, 30), pl.read_parquet(tmp_path / name))


def test_a_log_is_written_chunk_by_chunk(large: Path) -> None:
    events, outcomes = (
        pq.ParquetFile(large / name) for name in ("events.parquet", "outcomes.parquet")
    )
    assert events.num_row_groups == outcomes.num_row_groups == 2
    assert outcomes.read(["learner_id"])["learner_id"].combine_chunks().unique().to_pylist() == [
        f"learner-{number:07d}" for number in range(TWO_CHUNKS)
    ]


def test_the_summary_counts_what_was_written(tmp_path: Path) -> None:
    done: list[int] = []
    log = simulate(40, 5, tmp_path, on_progress=done.append)
    outcomes = pl.read_parquet(tmp_path / "outcomes.parquet")
    assert log.written
    assert log.events == pl.read_parquet(tmp_path / "events.parquet").height
    assert log.classes == dict(outcomes.group_by("mastery").len().iter_rows())
    assert log.outcomes == outcomes.height
    assert done == [40]
    assert f"wrote {log.events:,} events and {log.outcomes} outcomes" in log.describe()


def test_text_formats_hold_the_same_log(tmp_path: Path) -> None:
    frames = {}
    for suffix, read in (
        ("parquet", pl.read_parquet),
        ("csv", pl.read_csv),
        ("jsonl", pl.read_ndjson),
    ):
        simulate(20, 5, tmp_path / suffix, format=suffix)
        frames[suffix] = [
            read(tmp_path / suffix / f"{table}.{suffix}") for table in ("events", "outcomes")
        ]
    for table, clock in ((0, "time"), (1, "as_of")):
        expected = frames["parquet"][table]
        for suffix in ("csv", "jsonl"):
            found = frames[suffix][table].with_columns(
                pl.col(clock).str.to_datetime(time_unit="us", time_zone="UTC")
            )
            assert_frame_equal(found.cast(dict(expected.schema)), expected)


def test_repeating_a_request_changes_nothing(tmp_path: Path) -> None:
    before = simulate(20, 5, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = simulate(20, 5, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert (again.written, again.events, again.classes) == (False, before.events, before.classes)
    assert "already holds" in again.describe()


def test_a_truncated_log_is_not_taken_as_complete(tmp_path: Path) -> None:
    simulate(20, 5, tmp_path)
    whole = (tmp_path / "events.parquet").read_bytes()
    (tmp_path / "events.parquet").write_bytes(whole[:1000])
    with pytest.raises(MasteryError, match="--overwrite"):
        simulate(20, 5, tmp_path)
    assert simulate(20, 5, tmp_path, overwrite=True).written
    assert (tmp_path / "events.parquet").read_bytes() == whole


def test_another_log_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    simulate(20, 5, tmp_path)
    with pytest.raises(MasteryError, match="holds another log: 20 learners, seed 5, parquet"):
        simulate(21, 5, tmp_path)
    assert simulate(21, 5, tmp_path, format="csv", overwrite=True).learners == 21
    assert names(tmp_path) == {"events.csv", "outcomes.csv", Simulation.FILE}


def test_another_log_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "outcomes.csv").write_text("learner_id\n")
    with pytest.raises(MasteryError, match=r"holds another log: outcomes\.csv"):
        simulate(20, 5, tmp_path)
    assert names(tmp_path) == {"outcomes.csv"}


@pytest.mark.parametrize("present", [False, True])
def test_an_interruption_leaves_nothing_behind(tmp_path: Path, *, present: bool) -> None:
    out = tmp_path / "deep" / "sample"
    if present:
        simulate(20, 5, out)
    before = {path: path.read_bytes() for path in out.glob("*")}

    def interrupt(learners: int) -> None:
        assert learners == 30
        assert any(path.stat().st_size > 1000 for path in out.rglob("events.parquet"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(30, 5, out, overwrite=True, on_progress=interrupt)
    assert out.exists() == present
    assert {path: path.read_bytes() for path in out.glob("*")} == before


def test_an_unwritable_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(MasteryError, match=r"one of the formats parquet, csv, .*, found 'xlsx'"):
        simulate(20, 5, tmp_path, format="xlsx")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "sample"):
        with pytest.raises(MasteryError, match=r"could not be written \(.* Choose another --out"):
            simulate(20, 5, out)


@pytest.fixture(scope="module")
def joined(events: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    return events.join(outcomes, on=["learner_id", "unit_id"], how="left")


def test_columns_have_their_types_and_keys_no_nulls(
    events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    assert events.columns == EVENTS.names
    assert outcomes.columns == OUTCOMES.names
    assert events.schema["time"] == outcomes.schema["as_of"] == pl.Datetime("us", "UTC")
    assert events.schema["dwell_seconds"] == events.schema["playback_speed"] == pl.Float32
    assert (events.schema["exercise_completed"], events.schema["correct"]) == (pl.Boolean, pl.Int8)
    may_be_null = {"dwell_seconds", "exercise_completed", "correct", "playback_speed"}
    for name in set(events.columns) - may_be_null:
        assert events[name].null_count() == 0, name
    assert {name for name in outcomes.columns if outcomes[name].null_count()} == {"gender"}


def test_values_follow_the_learner_model(events: pl.DataFrame, outcomes: pl.DataFrame) -> None:
    assert set(events["event_type"]) == set(model.EVENT_TYPES)
    assert set(outcomes["mastery"]) == set(model.CLASSES)
    assert set(events["playback_speed"].drop_nulls()) == set(model.SPEEDS)
    components = {f"{unit}/{name}" for unit, names in model.CATALOGUE.items() for name in names}
    assert set(events["knowledge_component"]) == components
    assert (events["knowledge_component"].str.split("/").list.first() == events["unit_id"]).all()
    for name, shares in model.ATTRIBUTES.items():
        assert set(outcomes[name]) == set(shares)
    assert events["dwell_seconds"].min() > 0  # type: ignore[operator]


def test_unknown_values_are_null(events: pl.DataFrame) -> None:
    kind = pl.col("event_type")
    completed, correct = pl.col("exercise_completed"), pl.col("correct")
    assert (events.select(completed.is_null() == (kind != "exercise")).to_series()).all()
    assert events.filter((kind != "video") & pl.col("playback_speed").is_not_null()).is_empty()
    answered = (kind == "quiz") | completed.fill_null(value=False)
    assert events.filter(~answered & correct.is_not_null()).is_empty()
    lost = events.filter(answered)["correct"].is_null().mean()
    assert lost == pytest.approx(model.MISSING_CORRECT, abs=0.005)
    unseen = events.filter(kind == "video")["playback_speed"].is_null().mean()
    assert unseen == pytest.approx(model.MISSING_SPEED, abs=0.01)
    assert 0.02 < events["dwell_seconds"].is_null().mean() < 0.15  # type: ignore[operator]


def test_events_are_sorted_by_time_over_all_learners(events: pl.DataFrame) -> None:
    assert events["time"].is_sorted()
    assert not events["learner_id"].is_sorted()


def test_some_events_are_after_as_of_and_none_at_it(joined: pl.DataFrame) -> None:
    assert joined["as_of"].null_count() == 0
    assert (joined["time"] != joined["as_of"]).all()
    late = (joined["time"] > joined["as_of"]).mean()
    assert 0.1 < late < 0.2  # type: ignore[operator]


def test_a_cold_start_has_no_event_and_all_others_have_some_before_as_of(
    joined: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    seen = joined.filter(pl.col("time") < pl.col("as_of")).group_by("learner_id", "unit_id").len()
    assert seen["len"].min() == model.EVENTS_BEFORE[0]
    assert seen["len"].max() == model.EVENTS_BEFORE[1]
    cold = outcomes.join(seen, on=["learner_id", "unit_id"], how="anti")
    assert cold.height / outcomes.height == pytest.approx(model.COLD_START, abs=0.008)
    assert cold.join(joined, on=["learner_id", "unit_id"], how="semi").is_empty()
    newcomers = cold.join(joined, on="learner_id", how="semi")
    assert 0 < newcomers.height < cold.height


def test_learners_beyond_the_number_asked_for_are_left_out(
    sequences: Sequences, outcomes: pl.DataFrame
) -> None:
    few = pl.DataFrame(pl.from_arrow(outcomes_table(sequences, 50)))
    assert few["learner_id"].n_unique() == 50
    assert few.equals(outcomes.head(few.height))
    shown = pl.DataFrame(pl.from_arrow(events_table(sequences, 50)))
    assert set(shown["learner_id"]) <= set(few["learner_id"])


def test_a_log_of_the_first_format_is_recognised(tmp_path: Path) -> None:
    simulate(20, 5, tmp_path)
    path = tmp_path / Simulation.FILE
    content = json.loads(path.read_text())
    content["format"] = content.pop("table_format")
    path.write_text(json.dumps(content))
    assert not simulate(20, 5, tmp_path).written
    assert Simulation.read(tmp_path).table_format == "parquet"


def test_a_log_of_a_later_format_is_not_touched(tmp_path: Path) -> None:
    simulate(20, 5, tmp_path)
    path = tmp_path / Simulation.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(
        MasteryError, match=r"holds another log: events\.parquet, outcomes\.parquet"
    ):
        simulate(20, 5, tmp_path)


def test_an_interruption_while_moving_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == Simulation.FILE:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(20, 5, tmp_path)
    assert names(tmp_path) == set()
