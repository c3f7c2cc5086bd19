"""Whether a model is trained again: what calls for it, how often it may, and on what it trains."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from pydantic import ValidationError

from components.config import Config, Metadata
from components.config.retrain import Retrain
from components.contracts.drift_report import ColumnDrift, DriftReport
from components.contracts.quality_report import QualityReport
from components.contracts.run_record import Retraining, RunRecord
from components.contracts.watch_report import Finding, LogFreshness, WatchReport
from components.contracts.watch_report import VersionInService as Watched
from components.errors import MasteryError
from pipeline.layout import Layout
from pipeline.retrain.causes import VersionInService, provenance_of
from pipeline.retrain.retrain import decide, describe, retraining_config
from pipeline.run.freshness import note_retraining
from pipeline.run.notify import notification_of
from pipeline.store.connection import connect_to_store, connection_config
from pipeline.store.lookups import RETRAINED_AT

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
VERSION = VersionInService(7, Path("/models/7"))
Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Returns a function that configures a log of three spans, with other values of `retrain`."""
    for number in (1, 2, 3):
        deliver(tmp_path, number)

    def build(data: dict[str, Any] | None = None, **rules: Any) -> Config:
        tables = {name: f"{tmp_path}/log/{{SPAN}}/{name}.csv" for name in ("events", "outcomes")}
        return Config.model_validate(
            {
                "name": "algebra",
                "data": {**tables, **(data or {})},
                "schema": "/algebra.pbtxt",
                "label": {"column": "mastery", "classes": ["no", "yes"]},
                "steps": {"features": {"correct": {"type": "numeric"}}},
                "gates": [{"metric": "f1_macro", "min": 0.6}],
                "retrain": {"window": "last:2", **rules},
            }
        )

    return build


def deliver(folder: Path, number: int) -> None:
    span = folder / "log" / str(number)
    span.mkdir(parents=True)
    for table in ("events", "outcomes"):
        pl.DataFrame({"learner_id": [f"{table} {number}"]}).write_csv(span / f"{table}.csv")


def keep_run(config: Config, root: Path, run: str, **fields: Any) -> None:
    """Leaves the record of a run that has been to its end."""
    values = {"run": run, "name": config.name, "state": "passed", "started": NOW, **fields}
    record = RunRecord.model_validate({"metrics": "/metrics.json", **values})
    record.write(Layout(root, config.name).run(run))


def keep_training(
    config: Config, root: Path, run: str, at: datetime | None, state: int | None
) -> None:
    """Puts a run into ML Metadata, as TFX's launcher does; its Trainer ended in a state."""
    layout = Layout(root, config.name)
    store = connect_to_store(connection_config(Metadata(), layout))  # type: ignore[call-arg]

    def context(kind: str, name: str) -> mlmd.Context:
        type_id = store.put_context_type(mlmd.ContextType(name=kind))
        known = store.get_context_by_type_and_name(kind, name)
        return known or mlmd.Context(type_id=type_id, name=name)

    of_run = context("pipeline_run", run)
    if at is not None:
        of_run.custom_properties[RETRAINED_AT].string_value = at.isoformat()
    for node, ended in (("ExampleGen", mlmd.Execution.COMPLETE), ("Trainer", state)):
        if ended is not None:
            kind = store.put_execution_type(mlmd.ExecutionType(name=node))
            execution = mlmd.Execution(type_id=kind, last_known_state=ended)
            of_node = context("node", f"{layout.store_name}.{node}")
            store.put_execution(
                execution, [], [of_run, of_node], reuse_context_if_already_exist=True
            )


def test_a_window_moves_with_the_log() -> None:
    assert Retrain.model_validate({"window": {"last": 7}}).window == "last:7"
    assert Retrain().when == "drift"
    for fixed in ("2026-11-20", "12", "last:3 until 12"):
        with pytest.raises(ValidationError, match="since a window moves with the log"):
            Retrain(window=fixed)


def test_it_trains_on_the_window_and_older_learners_from_the_version_in_service(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(replay=0.3)
    found = retraining_config(config, VERSION)
    assert (found.data.span, found.data.replay) == ("last:2", 0.3)
    assert (found.training.start_from, found.training.warm_start) == ("/models/7", False)
    data = provenance_of(found)
    assert (data.spans, data.replayed, data.replay) == (["2", "3"], ["1"], 0.3)

    found = retraining_config(configure(warm_start=False, replay=0), VERSION)
    assert (found.training.start_from, found.training.warm_start) == (None, False)
    assert provenance_of(found).replayed == []

    whole = {name: f"{tmp_path}/log/1/{name}.csv" for name in ("events", "outcomes")}
    assert retraining_config(configure(whole), VERSION).data == configure(whole).data
    # Outcomes in one file cannot be told apart by spans, so nothing of them is older.
    in_one_file = {"outcomes": whole["outcomes"]}
    found = retraining_config(configure(in_one_file), VERSION)
    assert (found.data.span, found.data.replay) == ("last:2", 0.0)
    with pytest.raises(ValidationError, match=r"replay: expected \{SPAN\} or .* of outcomes, so"):
        configure({**in_one_file, "replay": 0.1})


def test_when_it_trains_is_in_no_cache_key(configure: Configure) -> None:
    assert configure(when="always", max_per_week=1).fingerprint == configure().fingerprint


def test_always_and_without_a_version_it_trains(configure: Configure, tmp_path: Path) -> None:
    found = decide(configure(when="always"), tmp_path, VERSION, now=NOW)
    assert (found.train, found.cause.why) == (True, "retrain.when is always")
    assert describe(found) == (
        "Training again on the newest 2 spans, 20% of older learners, from version 7: retrain.when "
        "is always."
    )
    found = decide(configure(when="drift"), tmp_path, None, now=NOW)
    assert (found.train, found.cause.why) == (True, "no version is in service yet")
    assert found.starts_from is None


def test_by_schedule_it_trains_on_data_that_the_latest_run_did_not_have(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(when="schedule")
    trained_on = retraining_config(config, VERSION)
    assert decide(config, tmp_path, VERSION, now=NOW).cause.why == "no run has been to its end yet"

    known = provenance_of(trained_on)
    keep_run(config, tmp_path, "20260101-1", data=known)
    found = decide(config, tmp_path, VERSION, now=NOW)
    assert (found.train, found.cause.why) == (False, "no new data since run 20260101-1")
    assert describe(found) == "Not training again: no new data since run 20260101-1."

    # A run that failed, or that only found that there was nothing new, is not the latest one.
    keep_run(config, tmp_path, "20260102-1", state="failed", metrics=None, data=None)
    keep_run(config, tmp_path, "20260103-1", state="no new data", metrics=None, data=known)
    assert not decide(config, tmp_path, VERSION, now=NOW).train

    deliver(tmp_path, 4)
    found = decide(config, tmp_path, VERSION, now=NOW)
    assert (found.train, found.cause.why) == (True, "new data since run 20260101-1: 4")

    keep_run(config, tmp_path, "20260104-1", data=provenance_of(trained_on))
    assert not decide(config, tmp_path, VERSION, now=NOW).train
    (tmp_path / "log" / "3" / "events.csv").write_text("learner_id\nlate\n")
    found = decide(config, tmp_path, VERSION, now=NOW)
    assert found.cause.why == "the data of 3 to 4 (2 spans) are others than those of run 20260104-1"


def test_by_drift_it_trains_because_of_the_columns_that_drifted(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = ColumnDrift(
        column="correct", kind="input", distance="jensen_shannon_divergence", size=0.4, low=0.3,
        high=0.5, threshold=0.1, drifted=True, words="correct: 1 in 80%, was 40%",
    )  # fmt: skip

    def measure(config: Config, *, version: Path, root: Path) -> DriftReport:
        assert (config.data.span, version, root) == ("newest", VERSION.folder, tmp_path)
        sizes = {"reference_learners": 900, "learners": 200, "outcomes": 300}
        return DriftReport.judged(
            name="algebra", confidence=0.99, draws=100, columns=columns, **sizes
        )

    monkeypatch.setattr("pipeline.watch.drift.measure_drift", measure)
    columns = [column]
    found = decide(configure(), tmp_path, VERSION, now=NOW)
    assert (found.train, found.cause.columns) == (True, ["correct"])
    assert found.cause.why == "drift calls for retraining: correct: 1 in 80%, was 40%"

    columns = []
    found = decide(configure(), tmp_path, VERSION, now=NOW)
    assert (found.train, found.cause.columns) == (False, [])
    assert "no drift" in found.cause.why


def test_by_quality_it_trains_on_what_watching_found_of_the_version_in_service(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(when="quality")
    with pytest.raises(MasteryError, match=r"watch\.json: expected a report, found none; run `mas"):
        decide(config, tmp_path, VERSION, now=NOW)

    measured = QualityReport(as_of="2026-03-01", since="2026-01-05", assumes="", versions=[])
    bad = Finding(kind="quality", key="k", text="Version 7: 50.0% of 80 answers were right.")
    drift = Finding(kind="drift", key="d", text="Drift.")

    def watch(version: int, *findings: Finding, quality: QualityReport | None = measured) -> None:
        WatchReport(
            name="algebra", as_of="2026-03-01T05:00:00Z", findings=[*findings], quality=quality,
            log=LogFreshness(max_age_days=7), versions=[Watched(version=version, label="stable")],
        ).write(tmp_path / "algebra")  # fmt: skip

    watch(7, bad, drift)
    found = decide(config, tmp_path, VERSION, now=NOW)
    assert (found.train, found.cause.why) == (
        True,
        "quality, as `mastery watch` found on 2026-03-01 05:00: Version 7: 50.0% of 80 answers "
        "were right",
    )
    watch(7, drift)
    assert not decide(config, tmp_path, VERSION, now=NOW).train
    watch(6, bad)  # from before the last retraining, which it must not cause again
    found = decide(config, tmp_path, VERSION, now=NOW)
    assert (found.train, "is not of version 7" in found.cause.why) == (False, True)
    watch(7, quality=None)
    with pytest.raises(MasteryError, match="expected the quality of answers, found none measured"):
        decide(config, tmp_path, VERSION, now=NOW)


def test_more_retrainings_than_allowed_in_seven_days_are_not_made(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(when="always", max_per_week=2)
    trained = mlmd.Execution.COMPLETE
    for run, days in {"old": 7.0, "first": 6.9, "second": 1.0}.items():
        keep_training(config, tmp_path, run, NOW - timedelta(days=days), trained)
    # None of these has trained again.
    keep_training(config, tmp_path, "by hand", None, trained)
    keep_training(config, tmp_path, "cached", NOW, mlmd.Execution.CACHED)
    keep_training(config, tmp_path, "interrupted", NOW, mlmd.Execution.CANCELED)
    keep_training(config, tmp_path, "no log", NOW, None)

    found = decide(config, tmp_path, VERSION, now=NOW)
    assert (found.train, found.this_week) == (False, ["first", "second"])
    assert found.cause.why == (
        "retrain.when is always; but 2 retrainings were made in the last seven days, and "
        "retrain.max_per_week allows 2; the next may begin on 2026-03-02 08:24 UTC"
    )
    assert decide(configure(when="always", max_per_week=3), tmp_path, VERSION, now=NOW).train
    later = NOW + timedelta(hours=2.4)
    assert decide(config, tmp_path, VERSION, now=later).train
    keep_training(config, tmp_path, "failed in it", NOW, mlmd.Execution.FAILED)
    assert not decide(config, tmp_path, VERSION, now=later).train


def test_why_it_was_trained_is_in_the_plan_and_in_what_people_are_told() -> None:
    from tfx.proto.orchestration import pipeline_pb2

    why = Retraining(when="drift", why="correct drifted", decided_at=NOW)
    plan = pipeline_pb2.Pipeline()
    context = plan.nodes.add().pipeline_node.contexts.contexts.add()
    context.type.name = "pipeline_run"
    note_retraining(plan, why)
    moment = context.properties[RETRAINED_AT].field_value.string_value
    assert datetime.fromisoformat(moment) == NOW

    record = RunRecord(run="1", name="algebra", state="failed", started=NOW, retraining=why)
    told = notification_of(record)
    assert told.retrained_because == "correct drifted"
    assert "Trained again: correct drifted" in told.text
