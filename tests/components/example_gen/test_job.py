"""The same examples, whatever the size of parts, the number of threads, and the runner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import polars as pl
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from components.config import Config
from components.config.beam import IN_PROCESS
from components.contracts.left_out import LeftOutList
from components.contracts.names import SPLITS
from components.event_log import shuffle
from components.event_log.log_spec import LogSpec
from components.event_log.sources import find_files
from components.event_log.tally import Tally
from components.example_gen.examples import examples_from_log
from components.example_gen.job import Job
from components.example_gen.transforms import ExamplesFromLog
from components.example_gen.workers import run_job
from tests.restless import restless  # noqa: F401 - a fixture

slow = pytest.mark.slow

Configure = Callable[..., Config]
MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(log: Path, configure: Configure) -> MakeJob:
    """Returns a function that makes a job with folders of its own; each table is in two files."""
    patterns = {}
    for table in ("events", "outcomes"):
        rows = pl.read_parquet(log / f"{table}.parquet")
        rows[:70].write_parquet(log / f"{table}-0.parquet")
        rows[70:].write_csv(log / f"{table}-1.csv")
        patterns[table] = [str(log / f"{table}-0.parquet"), str(log / f"{table}-1.csv")]

    def make(name: str, **data: object) -> Job:
        folders = {split: str(log / name / split) for split in SPLITS}
        scratch = log / name / "scratch"
        scratch.mkdir(parents=True)
        files = {table: find_files(table, paths).files for table, paths in patterns.items()}
        return Job.of(files, LogSpec.of(configure(**data)), folders, str(scratch))

    return make


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divides sixty learners as if they were millions."""
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", 240)
    monkeypatch.setattr(shuffle, "VALUES_PER_RUN", 300)
    monkeypatch.setattr(shuffle, "GROUP_BYTES", 1)


def digest(job: Job) -> str:
    """Returns a digest of all files of examples."""
    total = hashlib.sha256()
    for split, folder in job.folders.items():
        for path in sorted(Path(folder).iterdir()):
            total.update(f"{split}/{path.name}".encode() + path.read_bytes())
    return total.hexdigest()


def write(tally: Tally, path: Path) -> None:
    path.write_text(tally.model_dump_json())


def test_neither_parts_nor_threads_change_a_byte(
    make_job: MakeJob, request: pytest.FixtureRequest
) -> None:
    whole = make_job("whole")
    assert whole.parts.ranges == 1
    counts = run_job(whole, 1)

    request.getfixturevalue("small_parts")
    for workers in (1, 3):
        job = make_job(f"parts-{workers}")
        assert job.parts.ranges > 3
        assert len(job.groups("events", "outcomes")) == 4
        assert run_job(job, workers) == counts
        assert digest(job) == digest(whole)
        assert len(list(Path(job.scratch).iterdir())) == 4


THREADS = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading"]
PROCESSES = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing"]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("sample", [None, 20])
@pytest.mark.parametrize(
    "runner",
    [
        pytest.param([*THREADS, "--direct_num_workers=3"], id="threads"),
        pytest.param([*PROCESSES, "--direct_num_workers=2"], id="processes", marks=slow),
        pytest.param(IN_PROCESS, id="restless"),
    ],
)
def test_beam_gives_the_same_bytes_and_counts(
    make_job: MakeJob,
    tmp_path: Path,
    sample: int | None,
    runner: list[str],
    request: pytest.FixtureRequest,
) -> None:
    here = make_job("here", sample_learners=sample)
    read, joined = run_job(here, 2)

    there = make_job("there", sample_learners=sample)
    if runner is IN_PROCESS:
        request.getfixturevalue("restless")
    with beam.Pipeline(options=PipelineOptions(runner)) as runs:
        tallies = runs | ExamplesFromLog(there)
        for name, counts in tallies._asdict().items():
            counts | name >> beam.Map(write, tmp_path / name)
    assert digest(there) == digest(here)
    assert Tally.model_validate_json((tmp_path / "read").read_text()) == read
    assert Tally.model_validate_json((tmp_path / "joined").read_text()) == joined
    assert joined.learners == (sample or 60)


@pytest.mark.parametrize("sample", [None, 20])
def test_a_learner_who_is_left_out_leaves_no_trace(
    log: Path, make_job: MakeJob, sample: int | None
) -> None:
    without = make_job("without", sample_learners=sample)
    for file in (file for group in without.files.values() for file in group):
        read = pl.read_csv if file.format == "csv" else pl.read_parquet
        rows = read(file.path)
        rows = rows.filter(~pl.col("learner_id").is_in(["l3", "l40"]))
        target = f"{file.path}-without"
        rows.write_csv(target) if file.format == "csv" else rows.write_parquet(target)
    files = {
        table: [replace(file, path=f"{file.path}-without") for file in group]
        for table, group in without.files.items()
    }
    run_job(replace(without, files=files), 1)

    listed = LeftOutList.empty().adding(["l3", "l40"], "erased").write(log)
    job = make_job("listed", sample_learners=sample, left_out=str(listed))
    run_job(job, 1)
    assert digest(job) == digest(without)


@pytest.mark.usefixtures("small_parts")
def test_a_learner_with_most_of_the_log_has_all_examples(
    log: Path, configure: Configure, make_job: MakeJob
) -> None:
    events = pl.read_parquet(log / "events.parquet")
    many = events.with_columns(learner_id=pl.lit("l7"))
    pl.concat([events, *[many] * 4]).write_parquet(log / "events.parquet")
    expected = sorted(examples_from_log(configure()))

    job = make_job("giant")
    alone = find_files("events", [str(log / "events.parquet")]).files
    outcomes = find_files("outcomes", [str(log / "outcomes.parquet")]).files
    run_job(replace(job, files={"events": alone, "outcomes": outcomes}), 2)
    files = [str(path) for folder in job.folders.values() for path in Path(folder).iterdir()]
    assert sorted(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()) == expected


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_task_ends_the_job(make_job: MakeJob, workers: int) -> None:
    job = make_job("broken")
    Path(job.folders["eval"]).write_text("a file where a folder is needed")
    with pytest.raises(OSError, match="eval"):
        run_job(job, workers)
