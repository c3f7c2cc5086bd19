"""The node as a run has it: driver, cache, Beam, output."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf

from components.config import Config, load_config
from components.config.beam import WORKERS, Beam
from components.errors import LogError
from components.event_log.log import check_log
from components.example_gen.examples import examples_from_log
from components.example_gen.executor import runs_on_this_machine

Configure = Callable[..., Config]
REAL_LOG = Path(__file__).parents[4] / "shared" / "data" / "epfl"


def records(folder: Path) -> dict[str, list[bytes]]:
    """Returns the examples of each split of an output, shard by shard."""
    return {
        split: list(
            tf.data.TFRecordDataset(
                sorted(str(path) for path in folder.glob(f"Split-{split}/data_tfrecord-*-of-*.gz")),
                "GZIP",
            ).as_numpy_iterator()
        )
        for split in ("train", "eval", "test")
    }


def digest(folder: Path) -> str:
    """Returns a digest of the bytes of all files of an output."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.gz")):
        total.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def learners(examples: list[bytes]) -> set[bytes]:
    return {
        tf.train.Example.FromString(item).features.feature["learner_id"].bytes_list.value[0]
        for item in examples
    }


@pytest.mark.usefixtures("log")
def test_splits_hold_every_outcome_once_and_no_learner_twice(
    configure: Configure, run: Callable[[Config], Path]
) -> None:
    config = configure()
    output = run(config)
    splits = records(output)

    assert sorted(example for examples in splits.values() for example in examples) == sorted(
        examples_from_log(config)
    )
    of_split = [learners(examples) for examples in splits.values()]
    assert len(set.union(*of_split)) == sum(map(len, of_split)) == 60
    assert (
        len(list(output.glob("Split-*/*"))) == 9
    )  # three partitions, three splits, and nothing else
    summary = json.loads((output / "log_summary.json").read_text())
    assert summary["outcomes"] == 240
    assert {split: sum(counts.values()) for split, counts in summary["splits"].items()} == {
        split: len(examples) for split, examples in splits.items()
    }


def test_what_only_the_whole_log_shows_is_the_same_through_beam_and_in_memory(
    configure: Configure, run: Callable[[Config], Path], log: Path, events: pl.DataFrame
) -> None:
    config = configure()
    before = sorted(examples_from_log(config))
    digits = events.with_columns(pl.col("time").dt.strftime("%Y%m%d%H%M%S").cast(pl.Int64))
    digits.write_parquet(log / "events.parquet")
    assert sorted(examples_from_log(config)) == before

    odd = digits[:9].with_columns(learner_id=pl.col("learner_id") + "\u200b")
    pl.concat([digits, digits[:30], odd]).write_parquet(log / "events.parquet")
    output = run(config)
    examples = [example for split in records(output).values() for example in split]
    assert sorted(examples) == sorted(examples_from_log(config))
    summary = json.loads((output / "log_summary.json").read_text())
    assert summary == json.loads(check_log(config).model_dump_json())
    assert [warning.split(":")[0] for warning in summary["warnings"]] == [
        "events that are copies of another, equal in every column that is read",
        "events whose learner and unit have no outcome (not used)",
        "ids in learner_id that differ from another only by invisible characters (each counts as "
        "its own id)",
    ]


@pytest.mark.usefixtures("log")
def test_a_sample_is_the_same_through_beam_and_in_memory(
    configure: Configure, run: Callable[[Config], Path]
) -> None:
    config = configure(sample_learners=20)
    output = run(config)
    examples = [example for split in records(output).values() for example in split]
    assert sorted(examples) == sorted(examples_from_log(config))
    assert len(learners(examples)) == 20
    summary = json.loads((output / "log_summary.json").read_text())
    assert (summary["learners"], summary["outcomes"], summary["events"]) == (20, 80, 200)


def test_touching_the_log_is_cached_and_editing_it_is_not(
    log: Path, configure: Configure, run: Callable[[Config], Path], events: pl.DataFrame
) -> None:
    config = configure()
    first = run(config)

    os.utime(log / "events.parquet", (1, 1))
    assert run(config) == first

    events.with_columns(pl.col("dwell") + 1).write_parquet(log / "events.parquet")
    edited = run(config)
    assert edited != first
    assert digest(edited) != digest(first)

    events.write_parquet(
        log / "events.parquet", compression="uncompressed"
    )  # another file of the same content
    rewritten = run(config)
    assert rewritten not in (first, edited)
    assert digest(rewritten) == digest(first)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (Beam().args, True),
        (["--runner=DirectRunner"], True),
        (["--runner=FlinkRunner"], False),
    ],
    ids=["default", "direct", "flink"],
)
def test_beam_is_used_only_for_a_runner_elsewhere(args: list[str], expected: bool) -> None:
    assert runs_on_this_machine(Beam(args=args).node_options) is expected


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    "runner", ["", "apache_beam.runners.portability.fn_api_runner.FnApiRunner"]
)
def test_neither_threads_nor_a_runner_change_a_byte(
    tmp_path: Path,
    configure: Configure,
    run: Callable[[Config], Path],
    monkeypatch: pytest.MonkeyPatch,
    runner: str,
) -> None:
    config = configure()
    output = run(config)
    expected = digest(output), (output / "log_summary.json").read_bytes()
    shutil.rmtree(tmp_path / "root")
    (tmp_path / "metadata.sqlite").unlink()

    monkeypatch.setenv(WORKERS, "3")
    args = [f"--runner={runner}", *config.beam.args] if runner else config.beam.args
    beam = config.beam.model_copy(update={"args": args})
    output = run(config.model_copy(update={"beam": beam}))
    assert (digest(output), (output / "log_summary.json").read_bytes()) == expected
    assert sorted(path.name for path in output.iterdir()) == [
        "Split-eval", "Split-test", "Split-train", "log_summary.json",
    ]  # fmt: skip


@pytest.mark.usefixtures("log")
def test_only_a_configuration_that_matters_runs_again(
    configure: Configure, run: Callable[[Config], Path]
) -> None:
    config = configure()
    first = run(config)
    training = config.training.model_copy(update={"epochs": 99})
    assert run(config.model_copy(update={"training": training})) == first
    steps = config.steps.model_copy(update={"max_steps": 2})
    assert run(config.model_copy(update={"steps": steps})) != first


def test_newest_span(log: Path, configure: Configure, run: Callable[[Config], Path]) -> None:
    for span in ("3", "12"):
        (log / span).mkdir()
        for table in ("events", "outcomes"):
            (log / span / f"{table}.parquet").write_bytes((log / f"{table}.parquet").read_bytes())
    outcomes = pl.read_parquet(log / "outcomes.parquet").filter(pl.col("learner_id") != "l0")
    outcomes.write_parquet(log / "12" / "outcomes.parquet")
    output = run(
        configure(
            events=f"{log}/{{SPAN}}/events.parquet", outcomes=f"{log}/{{SPAN}}/outcomes.parquet"
        )
    )
    assert json.loads((output / "log_summary.json").read_text())["outcomes"] == 236


def test_a_bad_log_leaves_no_output(
    log: Path,
    configure: Configure,
    run: Callable[[Config], Path],
    outcomes: pl.DataFrame,
    events: pl.DataFrame,
) -> None:
    events.with_columns(dwell=float("inf")).write_parquet(log / "events.parquet")
    pl.concat([outcomes, outcomes[:1]]).write_parquet(log / "outcomes.parquet")
    with pytest.raises(LogError) as error:
        run(configure())
    assert [problem.replace(f"{log}/", "") for problem in error.value.problems] == [
        "events.parquet, row 1, column dwell: expected a finite number, found inf; also in row 2, "
        "3 and 597 more",
        "outcomes.parquet, row 241: expected one row per learner, unit and as_of, found learner "
        "'l0', unit 'u0', "
        "as_of 2024-03-05 00:00:00+00:00 again, after row 1 of outcomes.parquet",
    ]
    assert [path for path in (log / "root").rglob("*") if path.is_file()] == []


def test_a_missing_file_is_reported_before_anything_runs(
    log: Path, configure: Configure, run: Callable[[Config], Path]
) -> None:
    (log / "events.parquet").unlink()
    with pytest.raises(LogError, match="expected a file or folder of events"):
        run(configure())


@pytest.mark.skipif(not REAL_LOG.is_dir(), reason=f"the real log is not there: {REAL_LOG}")
def test_a_real_log(run: Callable[[Config], Path]) -> None:
    config = load_config(
        Path(__file__).parents[3] / "configs" / "epfl.yaml",
        [
            f"data.events={REAL_LOG / 'events.parquet'}",
            f"data.outcomes={REAL_LOG / 'outcomes.parquet'}",
        ],
    )
    splits = records(run(config))
    assert sum(map(len, splits.values())) == 576
    assert len(set.union(*(learners(examples) for examples in splits.values()))) == 288
