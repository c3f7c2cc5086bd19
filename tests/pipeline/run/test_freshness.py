"""Whether a run would only repeat the one before it, by what the metadata store holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration.portable.mlmd import context_lib
from tfx.proto.orchestration import pipeline_pb2

from components.config import Config, Metadata, load_config
from components.contracts.run_record import SeenBefore
from pipeline.dag import create_pipeline
from pipeline.layout import Layout
from pipeline.run.freshness import seen_before, stop_if_seen
from pipeline.run.launch import StoreHandle, compile_plan
from pipeline.store.connection import connection_config
from pipeline.store.lookups import PLAN_FINGERPRINT

REPOSITORY = Path(__file__).parents[3]
State = mlmd.Execution
Started = Callable[..., pipeline_pb2.Pipeline]


@pytest.fixture
def config() -> Config:
    return load_config(REPOSITORY / "configs" / "sample.yaml")


@pytest.fixture
def start(tmp_path: Path, config: Config) -> Started:
    """Returns a function that puts a run into the store, and returns the run's plan."""

    def put(
        run_id: str,
        examples: str,
        *,
        changed: Config | None = None,
        report: int | None = State.COMPLETE,
        pushed: str | None = None,
    ) -> pipeline_pb2.Pipeline:
        plan = compile_plan(
            create_pipeline(changed or config, Layout(tmp_path, config.name)), run_id
        )
        publish(plan, "ExampleGen", State.COMPLETE, examples)
        if report is not None:
            publish(plan, "Pusher", State.CACHED, f"pushed by {run_id}", pushed)
            publish(plan, "Report", report, f"report of {run_id}")
        return plan

    return put


def open_metadata(plan: pipeline_pb2.Pipeline) -> StoreHandle:
    """Returns the SQLite store of the root that the plan is for."""
    root = Path(plan.runtime_spec.pipeline_root.field_value.string_value).parents[1]
    return StoreHandle(connection_config(Metadata(), Layout(root, "sample")))  # type: ignore[call-arg]


def publish(
    plan: pipeline_pb2.Pipeline, node: str, state: int, uri: str, pushed: str | None = None
) -> None:
    [spec] = [item.pipeline_node for item in plan.nodes if item.pipeline_node.node_info.id == node]
    with open_metadata(plan) as handle:
        contexts = context_lib.prepare_contexts(handle, spec.contexts)
        known = handle.store.get_artifacts_by_uri(uri)
        kind = handle.store.put_artifact_type(mlmd.ArtifactType(name=node))
        artifact = (
            known[0] if known else mlmd.Artifact(type_id=kind, uri=uri, state=mlmd.Artifact.LIVE)
        )
        if pushed:
            artifact.custom_properties["pushed_destination"].string_value = pushed
        event = mlmd.Event(type=mlmd.Event.OUTPUT)
        event.path.steps.add().key = "output"
        execution = mlmd.Execution(
            type_id=handle.store.put_execution_type(mlmd.ExecutionType(name=node)),
            last_known_state=state,
        )
        handle.store.put_execution(execution, [(artifact, event)], contexts)


def seen(plan: pipeline_pb2.Pipeline) -> SeenBefore | None:
    with open_metadata(plan) as handle:
        return seen_before(handle.store, plan)


def end(plan: pipeline_pb2.Pipeline) -> None:
    """Ends a run as one without new data ends."""
    with open_metadata(plan) as handle:
        assert stop_if_seen(handle.store, plan) is not None


def test_the_first_run_has_everything_to_do(start: Started) -> None:
    assert seen(start("1", "a", report=None)) is None


def test_the_same_data_again_repeats_the_run_that_used_it(start: Started) -> None:
    start("1", "a", pushed="/serving/17")
    for run_id in ("2", "3"):  # the second time after a run that stopped for the same reason
        plan = start(run_id, "a", report=None)
        assert seen(plan) == SeenBefore(run="1", pushed_version="/serving/17")
        end(plan)


def test_a_run_whose_gates_failed_is_complete_too(start: Started) -> None:
    start("1", "a")
    assert seen(start("2", "a", report=None)) == SeenBefore(run="1", pushed_version=None)


def test_other_data_are_new(start: Started) -> None:
    start("1", "a")
    assert seen(start("2", "b", report=None)) is None


def test_data_of_an_older_run_are_new_after_others(start: Started) -> None:
    start("1", "a")
    start("2", "b")
    assert seen(start("3", "a", report=None)) is None


@pytest.mark.parametrize("report", [State.FAILED, State.CANCELED, State.RUNNING, None])
def test_after_a_run_that_did_not_end_well_there_is_something_to_do(
    start: Started, report: int | None
) -> None:
    start("1", "a")
    start("2", "a", report=report)
    assert seen(start("3", "a", report=None)) is None


def test_a_changed_configuration_runs(start: Started, config: Config) -> None:
    start("1", "a")
    training = config.training.model_copy(update={"epochs": config.training.epochs + 1})
    changed = config.model_copy(update={"training": training})
    assert seen(start("2", "a", changed=changed, report=None)) is None
    start("3", "a", changed=changed)
    assert seen(start("4", "a", changed=changed, report=None)) == SeenBefore(
        run="3", pushed_version=None
    )


def test_the_fingerprint_is_of_the_plan_and_not_of_the_run(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(run_id: str) -> set[str]:
        plan = compile_plan(create_pipeline(config, Layout(tmp_path, config.name)), run_id)
        contexts = (
            context for node in plan.nodes for context in node.pipeline_node.contexts.contexts
        )
        runs = (context for context in contexts if context.type.name == "pipeline_run")
        return {context.properties[PLAN_FINGERPRINT].field_value.string_value for context in runs}

    first = fingerprint("1")
    assert len(first) == 1
    assert fingerprint("2") == first
    code = "components.trainer.component.code_fingerprint"
    monkeypatch.setattr(code, lambda *_: "another")
    assert fingerprint("3") != first
