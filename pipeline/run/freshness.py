"""Whether a run would only repeat the one before it: the same plan on the same data.

All that this needs is in ML Metadata, because the containers of a run share nothing else. The
context of every run holds the fingerprint of its plan and, if the run stopped because it would have
repeated another, the id of that one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ml_metadata import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Context

from components.contracts.run_record import SeenBefore
from components.node.node_id import Node
from pipeline.store.lookups import (
    PLAN_FINGERPRINT,
    REPEATS,
    RETRAINED_AT,
    RETRAINED_BECAUSE,
    RunHistory,
)

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2

    from components.contracts.run_record import Retraining


def sign_plan(plan: pipeline_pb2.Pipeline) -> None:
    """Makes every run of a plan store the plan's fingerprint in its context.

    The fingerprint is that of the nodes, their configuration and code, not of where they run.

    Args:
        plan: as TFX compiled it, not yet bound to a run.
    """
    digest = hashlib.sha256(plan.pipeline_info.SerializeToString(deterministic=True))
    for node in plan.nodes:
        digest.update(node.SerializeToString(deterministic=True))

    for node in plan.nodes:
        for context in node.pipeline_node.contexts.contexts:
            if context.type.name == "pipeline_run":
                context.properties[PLAN_FINGERPRINT].field_value.string_value = digest.hexdigest()


def note_retraining(plan: pipeline_pb2.Pipeline, retraining: Retraining) -> None:
    """Makes a run of a plan store why the model is trained again in its context.

    Args:
        plan: signed, since why it runs is not what it does.
        retraining: why.
    """
    for node in plan.nodes:
        for context in node.pipeline_node.contexts.contexts:
            if context.type.name == "pipeline_run":
                moment = retraining.decided_at.isoformat()
                context.properties[RETRAINED_AT].field_value.string_value = moment
                context.properties[RETRAINED_BECAUSE].field_value.string_value = retraining.why


def seen_before(store: MetadataStore, plan: pipeline_pb2.Pipeline) -> SeenBefore | None:
    """Returns the run that this one would only repeat, None if there is something to do.

    It is the latest run of the pipeline, if that was of the same plan, had the very same examples,
    and got to its end. Runs that stopped because there was no new data do not count. After a run
    that failed there is something to do.

    Args:
        store: the metadata store.
        plan: what `compile_plan` returned; its ExampleGen has run.
    """
    history = RunHistory(store, plan.pipeline_info.id)
    run_id = _run_id(plan)
    runs = [(run, history.output_ids(made)) for run, made in history.runs()]
    own = next(((run, made) for run, made in runs if run.name == run_id), None)
    others = (
        (run, made)
        for run, made in runs
        if run.name != run_id and REPEATS not in run.custom_properties
    )
    latest = next(others, None)
    if own is None or latest is None:
        return None

    (own_run, examples), (run, examples_of_latest) = own, latest
    same_plan = _fingerprint(own_run) == _fingerprint(run)
    same_data = bool(examples) and examples == examples_of_latest
    if not (same_plan and same_data and history.succeeded_execution(run, Node.REPORT)):
        return None

    push = history.succeeded_execution(run, Node.PUSHER)
    pushed = history.result_of(push).pushed_version if push else None
    return SeenBefore(run=run.name, pushed_version=pushed)


def stop_if_seen(store: MetadataStore, plan: pipeline_pb2.Pipeline) -> SeenBefore | None:
    """Returns what `seen_before` does; if that is a run, records that this one stops here."""
    seen = seen_before(store, plan)
    own = RunHistory(store, plan.pipeline_info.id).run(_run_id(plan))
    if seen and own:
        own.custom_properties[REPEATS].string_value = seen.run
        store.put_contexts([own])
    return seen


def _run_id(plan: pipeline_pb2.Pipeline) -> str:
    return str(plan.runtime_spec.pipeline_run_id.field_value.string_value)


def _fingerprint(run: Context) -> str:
    return str(run.custom_properties[PLAN_FINGERPRINT].string_value)
