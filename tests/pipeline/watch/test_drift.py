"""Drift of a pushed version: its run's examples beside a new log, and every way to have neither."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.config import load_config
from components.contracts.drift_report import ColumnDrift, DriftReport
from components.errors import ConfigError, LogError, MasteryError
from components.evaluator.scoring import write_predictions
from components.example_gen.examples import examples_from_log
from components.monitoring.log_sample import examples_of_split
from components.schema.infer import statistics_of
from components.simulator.simulate import simulate
from pipeline.run.prepare import read_schema
from pipeline.watch.drift import measure_drift
from serving.predict import questions_from_log
from serving.prediction_log.frames import Row
from serving.prediction_log.parquet_log import ParquetLog
from tests.pipeline.cli.typed import mastery
from tests.pipeline.watch.pushed import REPOSITORY, VERSION, Pushed, push, spans_of

FIRST, SECOND, THIRD = "2026-01-05", "2026-01-12", "2026-01-19"

Typed = Callable[..., tuple[int, str]]
Measured = Callable[..., DriftReport]
SAMPLE = REPOSITORY / "configs" / "sample.yaml"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks: what the version was made with, more of the same, and another course."""
    folder = tmp_path_factory.mktemp("log")
    for seed, (week, learners) in enumerate(((FIRST, 400), (SECOND, 200), (THIRD, 200)), 1):
        simulate(learners, seed, folder / week)
    change_course(folder / THIRD)
    return folder


def change_course(folder: Path) -> None:
    """Replaces a unit by a new one, shows videos in place of readings, and slows everybody down."""
    unit = pl.col("unit_id").replace("fire-safety", "statistics")
    events = pl.read_parquet(folder / "events.parquet").with_columns(
        unit,
        pl.col("event_type").replace("reading", "video"),
        pl.col("dwell_seconds") * 2,
    )
    events.write_parquet(folder / "events.parquet")
    outcomes = pl.read_parquet(folder / "outcomes.parquet").with_columns(unit)
    outcomes.write_parquet(folder / "outcomes.parquet")


@pytest.fixture(scope="module")
def pushed(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    return push(tmp_path_factory.mktemp("root"), *spans_of(log), f"data.span={FIRST}")


@pytest.fixture
def measured(pushed: Pushed, log: Path) -> Measured:
    """Measures drift with further settings."""

    def measure(*settings: str, **options: object) -> DriftReport:
        config = load_config(SAMPLE, [*spans_of(log), *settings])
        options = {"draws": 300} | options
        return measure_drift(config, version=pushed.folder, root=pushed.root, **options)

    return measure


def by_name(report: DriftReport) -> dict[tuple[str, str], ColumnDrift]:
    return {(column.kind, column.column): column for column in report.columns}


def test_more_of_the_same_calls_for_nothing(measured: Measured, pushed: Pushed) -> None:
    report = measured(f"data.span={SECOND}")
    assert not report.calls_for_retraining
    assert (report.name, report.version, report.run) == ("sample", VERSION, "2026-01-12T00-00-00")
    assert (report.reference_spans, report.spans) == ([FIRST], [SECOND])
    assert report.headline == f"No drift: {report.learners} learners are like those of the version."
    # All inputs, then answers, the label, units that were never seen, and shares of units.
    assert [(column.kind, column.column) for column in report.columns] == [
        *(("input", name) for name in sorted(pushed.config.steps.features)),
        ("input", "num_steps"),
        ("input", "job_level"),
        ("prediction", "predicted_class"),
        ("label", "mastery"),
        ("unit", "unit_id"),
        ("unit", "unit_id"),
    ]
    judged = [column for column in report.columns if column.threshold is not None]
    assert len(judged) == len(report.columns) - 1
    assert report.confidence == pytest.approx(1 - 0.1 / len(judged))


def test_another_course_is_told_from_the_old_one(measured: Measured) -> None:
    report = measured(f"data.span={THIRD}")
    assert report.calls_for_retraining
    columns = {(item.column, item.distance): item for item in report.columns}
    assert columns["unit_id", "share"].words.startswith("unit `statistics` was never seen: ")
    assert columns["event_type", "infinity_norm"].words.startswith("`event_type` ")
    assert columns["dwell_seconds", "jensen_shannon_divergence"].words.startswith(
        "median `dwell_seconds` "
    )
    drifted = {item.column for item in report.drifted}
    assert drifted >= {"unit_id", "dwell_seconds", "event_type"}
    assert not columns["mastery", "infinity_norm"].drifted


def test_words_have_moved_as_far_as_tfdv_says(
    measured: Measured, pushed: Pushed, log: Path
) -> None:
    """From the examples themselves, by TFDV's own statistics and comparator."""
    config = load_config(SAMPLE, [*spans_of(log), f"data.span={THIRD}"])
    before, after = (
        statistics_of([ExamplesToRecordBatchDecoder().DecodeBatch([*examples])])
        for examples in (
            examples_of_split(pushed.examples / "Split-train"),
            examples_from_log(config),
        )
    )
    schema = read_schema(REPOSITORY / "schemas" / "sample.pbtxt")
    found = tfdv.validate_statistics(after, schema, previous_statistics=before)
    expected = {item.path.step[0]: item.drift_measurements[0] for item in found.drift_skew_info}
    report = measured(f"data.span={THIRD}", predictions=False)
    for name in ("event_type", "knowledge_component"):
        column = by_name(report)["input", name]
        assert column.size == pytest.approx(expected[name].value, abs=1e-12)
        assert column.threshold == expected[name].threshold


def test_the_data_of_the_version_have_not_moved_from_themselves(measured: Measured) -> None:
    report = measured(f"data.span={FIRST}", predictions=False)
    assert not report.calls_for_retraining
    assert all(column.kind != "prediction" for column in report.columns)
    # The train split is most of the log: distances are small, but not those of equal data.
    assert all(column.size is not None and column.size < 0.05 for column in report.columns)


def test_the_schema_says_how_far_columns_may_move(measured: Measured, tmp_path: Path) -> None:
    schema = (REPOSITORY / "schemas" / "sample.pbtxt").read_text()
    (tmp_path / "strict.pbtxt").write_text(schema.replace("threshold: 0.01", "threshold: 0.9"))
    strict = f"schema={tmp_path / 'strict.pbtxt'}"
    report = measured(f"data.span={THIRD}", strict, predictions=False)
    assert by_name(report)["input", "dwell_seconds"].threshold == 0.9
    assert not by_name(report)["input", "dwell_seconds"].drifted

    bare = text_format.Parse(schema, schema_pb2.Schema())
    for feature in bare.feature:
        feature.ClearField("drift_comparator")
    (tmp_path / "bare.pbtxt").write_text(text_format.MessageToString(bare))
    report = measured(f"data.span={THIRD}", f"schema={tmp_path / 'bare.pbtxt'}", predictions=False)
    assert not report.calls_for_retraining
    assert report.notes == [
        "the schema has no drift_comparator for any column: nothing is judged; `mastery schema "
        "infer` writes some"
    ]


@pytest.fixture
def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pushed: Pushed, log: Path
) -> Typed:
    """Runs `mastery drift` with the version's configuration."""

    def run(*arguments: str, root: Path | None = None) -> tuple[int, str]:
        settings = [part for setting in spans_of(log) for part in ("--set", setting)]
        where = ["--config", str(SAMPLE), "--root", str(root or pushed.root), *settings]
        code = mastery(monkeypatch, "drift", *where, *arguments)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_the_command_exits_3_where_retraining_is_called_for(typed: Typed) -> None:
    code, printed = typed("--span", SECOND)
    assert code == 0, printed
    assert "No drift: " in printed
    code, printed = typed("--span", THIRD, "--model-version", str(VERSION), "--json")
    assert code == 3, printed
    assert DriftReport.from_json(printed).calls_for_retraining


def test_what_is_missing_is_said(typed: Typed, tmp_path: Path) -> None:
    code, printed = typed("--span", "2026-02-02")
    assert (code, "2026-02-02" in printed) == (2, True), printed
    code, printed = typed("--model-version", "7")
    assert code == 2
    assert f"expected a version 7, found {VERSION}" in printed
    code, printed = typed(root=tmp_path / "other")
    assert code == 2
    assert "expected the folder that versions are pushed to, found none" in printed

    (tmp_path / "empty" / "sample" / "serving").mkdir(parents=True)
    code, printed = typed(root=tmp_path / "empty")
    assert code == 2
    assert "expected a pushed version, found none. `mastery run` pushes one." in printed


def test_a_version_without_its_run_or_its_examples_is_an_error(
    pushed: Pushed, log: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "root"
    shutil.copytree(pushed.folder, copied / "sample" / "serving" / str(VERSION))
    config = load_config(SAMPLE, spans_of(log))
    with pytest.raises(MasteryError, match=r"which made the version in service, found no metadata"):
        measure_drift(config, version=pushed.folder, root=copied)

    manifest = json.loads((pushed.folder / "manifest.json").read_text())
    for wrong, message in (
        (None, "expected a manifest.json that names its run, found none"),
        ("2025-01-01", "expected the run 2025-01-01 .*, found none of its examples"),
    ):
        folder = tmp_path / str(wrong)
        shutil.copytree(pushed.folder, folder)
        (folder / "manifest.json").write_text(json.dumps(manifest | {"run": wrong}))
        with pytest.raises(MasteryError, match=message):
            measure_drift(config, version=folder, root=pushed.root)

    train = pushed.examples / "Split-train"
    train.rename(pushed.examples / "away")
    try:
        with pytest.raises(MasteryError, match="they were removed"):
            measure_drift(config, version=pushed.folder, root=pushed.root)
    finally:
        (pushed.examples / "away").rename(train)


def test_logs_that_cannot_be_compared_are_errors(
    measured: Measured, log: Path, tmp_path: Path
) -> None:
    for name in ("events", "outcomes"):
        shutil.copy(log / SECOND / f"{name}.parquet", tmp_path)
    here = [f"data.{name}={tmp_path}/{name}.parquet" for name in ("events", "outcomes")]
    events = pl.read_parquet(tmp_path / "events.parquet")

    events.drop("correct").write_parquet(tmp_path / "events.parquet")
    with pytest.raises(LogError, match=r"events\.parquet.*correct"):
        measured(*here)
    events.clear().write_parquet(tmp_path / "events.parquet")
    with pytest.raises(LogError):
        measured(*here)
    with pytest.raises(ConfigError, match="could not be read"):
        measured(f"schema={tmp_path / 'none.pbtxt'}")


def test_few_learners_are_shown_and_not_judged(
    measured: Measured, log: Path, tmp_path: Path
) -> None:
    for name in ("events", "outcomes"):
        table = pl.read_parquet(log / THIRD / f"{name}.parquet")
        few = sorted(table["learner_id"].unique())[:5]
        table.filter(pl.col("learner_id").is_in(few)).write_parquet(tmp_path / f"{name}.parquet")
    here = [f"data.{name}={tmp_path}/{name}.parquet" for name in ("events", "outcomes")]
    report = measured(*here, "data.max_cold_start_share=1", predictions=False)
    assert not report.calls_for_retraining
    assert report.notes[0].startswith("the new data: expected 10 learners or more")


def answer_requests(pushed: Pushed, log: Path, span: str, folder: Path) -> int:
    """Logs answers about a span, as a server does that it is asked of; returns how many inputs."""
    config = load_config(SAMPLE, [*spans_of(log), f"data.span={span}"])
    examples = [*examples_from_log(config)]
    write_predictions(pushed.folder, [examples], config.label, (), folder / "answers.parquet")
    answers = pl.read_parquet(folder / "answers.parquet")["predicted_class"]
    # In the order of the log, as `mastery predict` asks.
    asked = questions_from_log(config, [f"{log}/{span}/events.parquet"],
                               [f"{log}/{span}/outcomes.parquet"]).examples  # fmt: skip
    now = datetime.now(UTC)
    rows = [
        Row(str(place), now, "sample", VERSION, None, sha256(example).hexdigest(),
            {"predicted_class": answer}, 0.001)
        for place, (example, answer) in enumerate(zip(asked, answers, strict=True))
    ]  # fmt: skip
    folder = folder / "predictions"
    folder.mkdir()
    ParquetLog(folder).add("first", rows)
    return len({row.input_hash for row in rows})


def test_served_traffic_is_compared_by_the_hashes_of_its_inputs(
    typed: Typed, pushed: Pushed, log: Path, tmp_path: Path
) -> None:
    inputs = answer_requests(pushed, log, THIRD, tmp_path)
    rows = pl.read_parquet(log / THIRD / "outcomes.parquet").height
    served = ["--served", str(tmp_path / "predictions")]
    code, printed = typed("--span", THIRD, *served, "--json")
    assert code == 3, printed
    report = DriftReport.from_json(printed)
    assert report.compared == "served"
    assert 0.9 * rows < report.outcomes <= rows  # all but those of learners without events
    assert {column.kind for column in report.columns} == {"input", "prediction", "unit"}
    assert {column.column for column in report.drifted} >= {"unit_id", "dwell_seconds"}
    assert report.notes == [
        f"the prediction log has {rows} rows of this version; {inputs} of its {inputs} inputs are "
        "examples of the configured log, inputs and units are compared for these"
    ]

    # Without the events that it was asked about, only its answers are known.
    code, printed = typed("--span", SECOND, *served, "--json")
    report = DriftReport.from_json(printed)
    assert {column.kind for column in report.columns} == {"prediction"}
    assert report.notes[0].endswith("so only answers are compared")


def test_served_traffic_that_is_not_there_is_an_error(
    typed: Typed, pushed: Pushed, log: Path, tmp_path: Path
) -> None:
    answer_requests(pushed, log, SECOND, tmp_path)
    served = ["--served", str(tmp_path / "predictions")]
    code, printed = typed(*served, "--since", "2199-01-01")
    assert code == 2
    assert f"--served: expected answers of version {VERSION}, found none in the log" in printed
    code, printed = typed("--since", "2026-01-01")
    assert (code, "--since: expected it with --served" in printed) == (2, True)
