"""What is replayed of older spans: which learners, in which split, and what their outcomes see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import apache_beam as beam
import polars as pl
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from components.config import Config
from components.config.beam import IN_PROCESS
from components.contracts.log_summary import LogSummary
from components.contracts.names import SPLITS
from components.contracts.provenance import DataProvenance
from components.errors import LogError
from components.event_log import shuffle
from components.event_log.conclusion import conclude
from components.event_log.learners import hash_ids
from components.event_log.log_spec import LogSpec
from components.event_log.spans import choose_spans
from components.event_log.tally import Tally
from components.example_gen.driver import REPLAYED_TABLES, TABLES, find_inputs, input_splits
from components.example_gen.job import Job
from components.example_gen.transforms import ExamplesFromLog
from components.example_gen.workers import run_job
from tests.components.example_gen.conftest import LEARNERS
from tests.components.example_gen.test_driver import properties

Configure = Callable[..., Config]
MakeJob = Callable[..., Job]

SPANS = {"1": (datetime(2024, 3, 1), datetime(2024, 3, 6)), "2": (datetime(2024, 3, 6), None)}  # noqa: DTZ001
TIMES = {"events": "time", "outcomes": "as_of"}


@pytest.fixture
def spans(log: Path) -> Path:
    """The log in two deliveries by time, so that learners are in both; returns its folder."""
    for table, column in TIMES.items():
        whole = pl.read_parquet(log / f"{table}.parquet")
        for name, (start, stop) in SPANS.items():
            (log / name).mkdir(exist_ok=True)
            after = whole.filter(pl.col(column) >= start)
            rows = after if stop is None else after.filter(pl.col(column) < stop)
            rows.write_parquet(log / name / f"{table}.parquet")
    return log


@pytest.fixture
def in_spans(spans: Path, configure: Configure) -> Configure:
    patterns = {table: f"{spans}/{{SPAN}}/{table}.parquet" for table in TABLES}
    common = {**patterns, "span": "newest", "max_cold_start_share": 1}
    return lambda **data: configure(**{**common, **data})


@pytest.fixture
def make_job(spans: Path, in_spans: Configure) -> MakeJob:
    """Returns a function that makes a job, as ExampleGen's driver and executor do."""

    def make(name: str, **data: object) -> Job:
        config = in_spans(**data)
        spec = LogSpec.of(config)
        paths = [config.data.events, config.data.outcome_files]
        every = [path for group in paths for path in group]
        chosen = choose_spans(every, config.data.span, with_older=spec.replay > 0)
        splits = input_splits(*map(chosen.fill, paths))
        if chosen.older:
            splits += input_splits(*map(chosen.older.fill, paths), tables=REPLAYED_TABLES)

        folders = {split: str(spans / name / split) for split in SPLITS}
        scratch = spans / name / "scratch"
        scratch.mkdir(parents=True)
        files = {table: found.files for table, found in find_inputs(splits, spec).items()}
        return Job.of(files, spec, folders, str(scratch))

    return make


def records(job: Job, split: str) -> Counter[bytes]:
    files = [str(path) for path in Path(job.folders[split]).iterdir()]
    return Counter(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def learner_of(record: bytes) -> str:
    feature = tf.train.Example.FromString(record).features.feature["learner_id"]
    return str(feature.bytes_list.value[0].decode())


@pytest.mark.parametrize("derives", [False, True])
def test_replay_adds_examples_of_the_drawn_learners_to_train_and_nothing_else(
    make_job: MakeJob, in_spans: Configure, spans: Path, derives: bool
) -> None:
    data: dict[str, object] = {}
    if derives:
        rows = [f"l{number},{number % 3},,{2020 + number % 2}" for number in range(LEARNERS)]
        table = spans / "learners.csv"
        table.write_text("\n".join(["learner_id,region,height,year", *rows, ""]))
        derive = {"derive": "next_answers", "next": 2, "cuts": [1], "at": "24h"}
        data["outcomes"] = {**derive, "table": str(table), "after": "unit"}
    newest, older = make_job("newest", span="2", **data), make_job("older", span="1", **data)
    replaying = make_job("replaying", replay=0.5, **data)
    for job in (newest, older):
        run_job(job, 1)
    _, joined = run_job(replaying, 1)

    for split in ("eval", "test"):
        assert records(replaying, split) == records(newest, split)
    added = records(replaying, "train") - records(newest, "train")
    assert not records(newest, "train") - records(replaying, "train")

    # An older outcome is what it was when its span was the newest: it sees nothing that came later.
    learners = pl.Series("learner_id", [f"l{number}" for number in range(LEARNERS)])
    hashes = hash_ids(learners, f"replay/{in_spans().data.splits.seed}")
    drawn = set(hashes.filter(pl.col("_sample_hash") < 2**63)["learner_id"])
    assert added == Counter(
        {
            record: count
            for record, count in records(older, "train").items()
            if learner_of(record) in drawn
        }
    )
    assert joined.replayed["learners"] == len({learner_of(record) for record in added}) > 5
    assert joined.replayed["outcomes"] >= added.total() > 10
    by_class = {name: joined.replayed[f"class {name}"] for name in ("low", "high")}
    assert sum(by_class.values()) == joined.replayed["outcomes"]


def test_all_learners_of_train_are_replayed_with_a_share_of_one_and_fewer_are_among_them(
    make_job: MakeJob,
) -> None:
    older, newest = make_job("older", span="1"), make_job("newest", span="2")
    runs = {share: make_job(f"share-{share}", replay=share) for share in (0.2, 0.6, 1.0)}
    for job in (older, newest, *runs.values()):
        run_job(job, 1)
    added = {share: records(job, "train") - records(newest, "train") for share, job in runs.items()}
    assert added[1.0] == records(older, "train")
    assert added[0.2] < added[0.6] < added[1.0]


def test_parts_threads_and_beam_replay_the_same(
    make_job: MakeJob, spans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_job("whole", replay=0.5)
    counts = run_job(whole, 1)
    for name, value in (("VALUES_PER_PART", 240), ("VALUES_PER_RUN", 300), ("GROUP_BYTES", 1)):
        monkeypatch.setattr(shuffle, name, value)

    job = make_job("parts", replay=0.5)
    assert job.parts.ranges > 1
    assert run_job(job, 2) == counts
    there = make_job("beam", replay=0.5)
    with beam.Pipeline(options=PipelineOptions(IN_PROCESS)) as runs:
        tallies = runs | ExamplesFromLog(there)
        text = tallies.joined | beam.Map(lambda tally: tally.model_dump_json())
        text | beam.Map((spans / "joined.json").write_text)
    assert Tally.model_validate_json((spans / "joined.json").read_text()) == counts[1]
    for other in (job, there):
        assert records(other, "train") == records(whole, "train")


def test_a_sample_of_learners_is_replayed_from(make_job: MakeJob) -> None:
    _, joined = run_job(make_job("sample", replay=1.0, sample_learners=20), 1)
    assert 0 < joined.replayed["learners"] <= 20


def test_a_problem_of_an_older_span_is_reported(
    make_job: MakeJob, spans: Path, in_spans: Configure
) -> None:
    rows = pl.read_parquet(spans / "1" / "outcomes.parquet")
    rows.with_columns(mastery=pl.lit("middling")).write_parquet(spans / "1" / "outcomes.parquet")
    spec = LogSpec.of(in_spans(replay=0.5))
    read, joined = run_job(make_job("wrong", replay=0.5), 1)
    with pytest.raises(LogError, match=r"1/outcomes\.parquet, .*mastery.*found 'middling'"):
        conclude(read, joined, spec, splits=True)

    rows.with_columns(pl.col("as_of").dt.epoch("s") // 3600).write_parquet(
        spans / "1" / "outcomes.parquet"
    )
    events = pl.read_parquet(spans / "1" / "events.parquet")
    events.with_columns(pl.col("time").dt.epoch("s") // 3600).write_parquet(
        spans / "1" / "events.parquet"
    )
    read, joined = run_job(make_job("clock", replay=0.5), 1)
    with pytest.raises(LogError, match="expected times of one kind in all spans"):
        conclude(read, joined, spec, splits=True)


def test_what_was_replayed_is_written_down_and_found_in_the_cache(
    spans: Path, in_spans: Configure, run: Callable[[Config], Path]
) -> None:
    plain = run(in_spans())
    replaying = run(in_spans(replay=0.25))
    assert replaying != plain
    assert run(in_spans(replay=0.25)) == replaying

    held = DataProvenance.of(properties(spans, replaying))
    assert (held.spans, held.replayed, held.replay, held.version) == (["2"], ["1"], 0.25, 0)
    alone = DataProvenance.of(properties(spans, plain))
    assert (alone.replayed, alone.replay, alone.version) == ([], None, 0)
    assert held.fingerprint != alone.fingerprint

    summary, without = LogSummary.read(replaying), LogSummary.read(plain)
    assert summary.replayed is not None
    assert summary.replayed.spans == ["1"]
    assert without.replayed is None
    assert summary.model_copy(update={"replayed": None}) == without
    assert f"replayed  {summary.replayed.outcomes} outcomes of " in summary.describe()

    # Nothing comes before the first span, so there is nothing to replay.
    first = DataProvenance.of(properties(spans, run(in_spans(span="1", replay=0.25))))
    assert (first.spans, first.replayed, first.replay) == (["1"], [], None)
