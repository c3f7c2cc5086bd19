"""Resolver strategies that find a blessed model, and find the same one again in a repeated run.

TFX's own `LatestBlessedModelStrategy` would find the model of the first run when that run is
repeated. Evaluator and Trainer would then have other inputs than before, and an unchanged run
could not be taken from the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import ml_metadata as mlmd
from ml_metadata.proto.metadata_store_pb2 import Event
from tfx.components.evaluator.constants import (
    ARTIFACT_PROPERTY_BLESSED_KEY,
    ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY,
    BLESSED_VALUE,
)
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.orchestration.portable.mlmd.execution_lib import is_execution_successful
from tfx.types.artifact import Artifact

from components.node.node_id import Node

Artifacts = dict[str, list[Artifact]]

# Keys of a resolver's inputs, and so of its outputs.
MODEL = "model"
BLESSING = "model_blessing"
CANDIDATE = "candidate"
EXAMPLES = "examples"


class LatestOtherBlessedModel(ResolverStrategy):  # type: ignore[misc]
    """Finds the baseline of a candidate: the model that was blessed last, except the candidate.

    The candidate is left out so that an unchanged rerun, whose candidate is blessed by now, keeps
    its baseline. What counts is the last blessing, not the last training: when an older model comes
    from the cache again, because the configuration was set back, it is compared with the model that
    is served now; once it is blessed again, it is the baseline of the next candidate.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; leaves at most one `model` and one `model_blessing`."""
        candidates = {artifact.id for artifact in input_dict[CANDIDATE]}
        for model, blessing in servable_models(store, input_dict):
            if model.id not in candidates:
                return {**input_dict, MODEL: [model], BLESSING: [blessing]}
        return {**input_dict, MODEL: [], BLESSING: []}


class LatestModelOfOtherExamples(ResolverStrategy):  # type: ignore[misc]
    """Finds the model to start from: the last blessed one that has not seen the run's examples.

    A model that was started from one fitted to these examples has seen them as well.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; leaves at most one `model` and one `model_blessing`."""
        examples = {artifact.id for artifact in input_dict[EXAMPLES]}
        for model, blessing in servable_models(store, input_dict):
            if not examples & ancestors(store, model.id):
                return {**input_dict, MODEL: [model], BLESSING: [blessing]}
        return {**input_dict, MODEL: [], BLESSING: []}


def servable_models(
    store: mlmd.MetadataStore, input_dict: Artifacts
) -> Iterator[tuple[Artifact, Artifact]]:
    """Yields `blessed_models` without those that failed ServingCheck."""
    for model, blessing in blessed_models(input_dict):
        if not failed_serving_check(store, model.id):
            yield model, blessing


def blessed_models(input_dict: Artifacts) -> list[tuple[Artifact, Artifact]]:
    """Returns all blessed models, each with its newest blessing; the last one blessed is first."""
    models = {artifact.id: artifact for artifact in input_dict[MODEL]}
    found: dict[int, tuple[Artifact, Artifact]] = {}
    for blessing in sorted(input_dict[BLESSING], key=lambda artifact: artifact.id, reverse=True):
        model_id = blessing.get_int_custom_property(ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY)
        blessed = blessing.get_int_custom_property(ARTIFACT_PROPERTY_BLESSED_KEY) == BLESSED_VALUE
        if blessed and model_id in models:
            found.setdefault(model_id, (models[model_id], blessing))
    return [*found.values()]


def failed_serving_check(store: mlmd.MetadataStore, model_id: int) -> bool:
    """Returns whether ServingCheck has read a model and never succeeded: it cannot be served."""
    events = store.get_events_by_artifact_ids([model_id])
    readers = {event.execution_id for event in events if event.type == Event.INPUT}
    executions = store.get_executions_by_id(readers)

    # An execution's type is the path of the class of its node.
    types = {kind.id: kind.name.rpartition(".")[2] for kind in store.get_execution_types()}
    checks = [item for item in executions if types[item.type_id] == Node.SERVING_CHECK]
    return bool(checks) and not any(map(is_execution_successful, checks))


def ancestors(store: mlmd.MetadataStore, artifact_id: int) -> set[int]:
    """Returns the ids of all artifacts that an artifact was made from, directly or indirectly."""
    known: set[int] = set()
    new = {artifact_id}
    while new:
        # Only OUTPUT: a resolver passes artifacts on as INTERNAL_OUTPUT and makes none.
        events = store.get_events_by_artifact_ids([*new])
        makers = {event.execution_id for event in events if event.type == Event.OUTPUT}

        events = store.get_events_by_execution_ids([*makers]) if makers else []
        new = {event.artifact_id for event in events if event.type == Event.INPUT} - known
        known |= new
    return known
