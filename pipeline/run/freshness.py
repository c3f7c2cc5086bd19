"""Whether a run would only repeat the one before it: the same plan on the same data.

All of it is in ML Metadata, so that a run on a cluster, whose containers share nothing else, knows it too: the plan's
fingerprint stands in the context of every run, and so does the word that a run has ended for want of new data.
"""

from __future__ import annotations

import hashlib

from ml_metadata import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Context, Execution
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2

from pipeline.run.record import REPEATS, SeenBefore

PLAN_FINGERPRINT = "plan_fingerprint"  # a custom property of a run's context

FIRST, LAST, PUSHER = "ExampleGen", "Report", "Pusher"
_RUN = "pipeline_run"


def sign_plan(plan: pipeline_pb2.Pipeline) -> None:
    """Has every run of a plan note the plan's fingerprint: nodes, their configuration and code, not where they run.

    Args:
        plan: as TFX compiled it, not yet bound to a run.
    """
    digest = hashlib.sha256(plan.pipeline_info.SerializeToString(deterministic=True))
    for node in plan.nodes:
        digest.update(node.SerializeToString(deterministic=True))
    for node in plan.nodes:
        for context in node.pipeline_node.contexts.contexts:
            if context.type.name == _RUN:
                context.properties[PLAN_FINGERPRINT].field_value.string_value = digest.hexdigest()


def seen_before(store: MetadataStore, plan: pipeline_pb2.Pipeline) -> SeenBefore | None:
    """Returns the run that this one would only repeat, None if there is something to do.

    It is the latest run of the pipeline, if that was of the same plan, had the very same examples, and got to its end;
    runs that themselves ended for want of new data are passed over. After a run that failed there is something to do.

    Args:
        store: where the runs are known.
        plan: what `compile_plan` returned; its ExampleGen has run.
    """
    runs = _runs(store, plan)
    run_id = plan.runtime_spec.pipeline_run_id.field_value.string_value
    own, examples = next(
        ((run, _outputs(store, made)) for run, made in runs if run.name == run_id), (None, set())
    )
    others = (
        (run, made)
        for run, made in runs
        if run.name != run_id and REPEATS not in run.custom_properties
    )
    before, made = next(others, (None, None))
    if own is None or before is None or _fingerprint(before) != _fingerprint(own):
        return None
    if (
        not examples
        or _outputs(store, made) != examples
        or _completed(store, plan, LAST, before) is None
    ):
        return None
    return SeenBefore(run=before.name, pushed_version=_pushed(store, plan, before))


def end_if_seen(store: MetadataStore, plan: pipeline_pb2.Pipeline) -> SeenBefore | None:
    """Returns what `seen_before` does; where that is a run, notes in the store that this one ends here."""
    seen = seen_before(store, plan)
    if seen:
        _note_repeat(store, plan, seen)
    return seen


def _note_repeat(store: MetadataStore, plan: pipeline_pb2.Pipeline, seen: SeenBefore) -> None:
    own = store.get_context_by_type_and_name(
        _RUN, plan.runtime_spec.pipeline_run_id.field_value.string_value
    )
    own.custom_properties[REPEATS].string_value = seen.run
    store.put_contexts([own])


def _runs(store: MetadataStore, plan: pipeline_pb2.Pipeline) -> list[tuple[Context, Execution]]:
    """Returns the runs of a pipeline, each with its execution of ExampleGen, newest first."""
    executions = sorted(
        _executions(store, plan, FIRST), key=lambda execution: int(execution.id), reverse=True
    )
    return [
        (context, execution)
        for execution in executions
        for context in store.get_contexts_by_execution(execution.id)
        if context.type == _RUN
    ]


def _executions(store: MetadataStore, plan: pipeline_pb2.Pipeline, node: str) -> list[Execution]:
    context = store.get_context_by_type_and_name("node", f"{plan.pipeline_info.id}.{node}")
    return list(store.get_executions_by_context(context.id)) if context else []


def _completed(
    store: MetadataStore, plan: pipeline_pb2.Pipeline, node: str, run: Context
) -> Execution | None:
    """Returns the execution of a node in a run that ended well, from the cache or not."""
    of_node = {execution.id for execution in _executions(store, plan, node)}
    executions = (item for item in store.get_executions_by_context(run.id) if item.id in of_node)
    return next(filter(execution_lib.is_execution_successful, executions), None)


def _pushed(store: MetadataStore, plan: pipeline_pb2.Pipeline, run: Context) -> str | None:
    """Returns the folder of the version that a run pushed."""
    push = _completed(store, plan, PUSHER, run)
    artifacts = store.get_artifacts_by_id([*_outputs(store, push)]) if push else []
    found = [item.custom_properties["pushed_destination"].string_value for item in artifacts]
    return next(filter(None, found), None)


def _outputs(store: MetadataStore, execution: Execution) -> set[int]:
    events = store.get_events_by_execution_ids([execution.id])
    return {event.artifact_id for event in events if event.type == event.OUTPUT}


def _fingerprint(run: Context) -> str:
    return str(run.custom_properties[PLAN_FINGERPRINT].string_value)
