"""Examples of derived outcomes are the same in parts, on Beam's workers and in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from components.config import Config
from components.contracts.log_summary import LogSummary
from components.contracts.names import SPLITS
from components.event_log import shuffle
from components.event_log.log_spec import LogSpec
from components.event_log.sources import find_files
from components.example_gen.examples import examples_from_log
from components.example_gen.job import Job
from components.example_gen.transforms import ExamplesFromLog
from components.example_gen.workers import run_job

LEARNERS = 60


@pytest.fixture
def derived(log: Path, configure: Callable[..., Config]) -> Config:
    """Outcomes that are derived, with columns of a table."""
    rows = [f"l{number},{number % 3},,{2020 + number % 2}" for number in range(LEARNERS)]
    (log / "learners.csv").write_text("\n".join(["learner_id,region,height,year", *rows, ""]))
    derive = {"derive": "next_answers", "next": 2, "cuts": [1], "at": ["36h", "4d"]}
    table = {"table": str(log / "learners.csv"), "after": "unit"}
    return configure(outcomes={**derive, **table})


def make_job(config: Config, folder: Path) -> Job:
    """Returns a job with folders of its own."""
    folders = {split: str(folder / split) for split in SPLITS}
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    files = {
        "events": find_files("events", config.data.events).files,
        "outcomes": find_files("outcomes", config.data.outcome_files).files,
    }
    return Job.of(files, LogSpec.of(config), folders, str(scratch))


def written(folder: Path) -> list[bytes]:
    """Returns the examples of all splits, sorted."""
    paths = [str(path) for path in folder.rglob("data_tfrecord-*.gz")]
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP")
    return sorted(record.numpy() for record in records)


@pytest.mark.parametrize("values_per_part", [1200, shuffle.VALUES_PER_PART])
def test_parts_and_beam_change_no_byte(
    derived: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values_per_part: int
) -> None:
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", values_per_part)
    expected = sorted(examples_from_log(derived))
    assert len(expected) > LEARNERS
    read, joined = run_job(make_job(derived, tmp_path / "here"), 2)
    assert not read.problems + joined.problems
    assert written(tmp_path / "here") == expected

    options = PipelineOptions(["--direct_running_mode=in_memory"])
    with beam.Pipeline("FnApiRunner", options) as pipeline:
        pipeline | ExamplesFromLog(make_job(derived, tmp_path / "there"))
    assert written(tmp_path / "there") == expected


@pytest.mark.usefixtures("log")
def test_the_node_takes_events_alone(
    configure: Callable[..., Config], run: Callable[[Config], Path]
) -> None:
    given = configure().model_dump(by_alias=True, exclude_unset=True)
    outcomes = {"derive": "next_answers", "next": 2, "cuts": [1], "at": "36h"}
    config = Config.model_validate(
        {**given, "data": {**given["data"], "outcomes": outcomes}, "evaluation": {}}
    )
    summary = LogSummary.read(run(config))
    assert summary.outcomes + sum(summary.unasked.values()) == 2 * LEARNERS
    assert [*summary.files] == ["events"]
    assert summary.first_outcome >= summary.first_event
