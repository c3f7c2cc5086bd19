"""Resolver strategies that find a blessed model, the same one as long as nothing has changed.

TFX's own `LatestBlessedModelStrategy` would find the model of the first run when that run is repeated: the inputs of
Evaluator and Trainer would be others than before, and nothing of an unchanged run could be taken from the cache.
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

Artifacts = dict[str, list[Artifact]]

# Keys of a resolver's inputs, and so of its outputs.
MODEL = "model"
BLESSING = "model_blessing"
CANDIDATE = "candidate"
EXAMPLES = "examples"

SERVING_CHECK = "ServingCheck"  # the class whose nodes say whether a model can be served


class LatestOtherBlessedModel(ResolverStrategy):  # type: ignore[misc]
    """Finds the baseline of a candidate: of all models but the candidate itself, the one that was blessed last.

    "But the candidate" keeps an unchanged rerun, whose candidate is blessed by now, on the baseline it had. "Blessed
    last", not "made last": when an older model comes from the cache again (the configuration was set back), it has to
    hold against the one that is served now; once it does and is blessed again, it is the one to hold against.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; `model` and `model_blessing` are left with one artifact each, or none."""
        candidates = {artifact.id for artifact in input_dict[CANDIDATE]}
        for model, blessing in servable_models(store, input_dict):
            if model.id not in candidates:
                return {**input_dict, MODEL: [model], BLESSING: [blessing]}
        return {**input_dict, MODEL: [], BLESSING: []}


class LatestModelOfOtherExamples(ResolverStrategy):  # type: ignore[misc]
    """Finds where training starts from: the model blessed last, of those that have never seen the run's examples.

    A model that was itself started from one fitted to these examples has seen them.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; `model` and `model_blessing` are left with one artifact each, or none."""
        examples = {artifact.id for artifact in input_dict[EXAMPLES]}
        for model, blessing in servable_models(store, input_dict):
            if not examples & ancestors(store, model.id):
                return {**input_dict, MODEL: [model], BLESSING: [blessing]}
        return {**input_dict, MODEL: [], BLESSING: []}


def servable_models(
    store: mlmd.MetadataStore, input_dict: Artifacts
) -> Iterator[tuple[Artifact, Artifact]]:
    """Yields the blessed models, as `blessed_models` has them, but for those that ServingCheck stopped."""
    return (
        pair for pair in blessed_models(input_dict) if not failed_serving_check(store, pair[0].id)
    )


def blessed_models(input_dict: Artifacts) -> list[tuple[Artifact, Artifact]]:
    """Returns all blessed models, each with its newest blessing, the one that was blessed last first."""
    models = {artifact.id: artifact for artifact in input_dict[MODEL]}
    found: dict[int, tuple[Artifact, Artifact]] = {}
    for blessing in sorted(input_dict[BLESSING], key=lambda artifact: artifact.id, reverse=True):
        model = models.get(blessing.get_int_custom_property(ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY))
        if (
            model
            and blessing.get_int_custom_property(ARTIFACT_PROPERTY_BLESSED_KEY) == BLESSED_VALUE
        ):
            found.setdefault(model.id, (model, blessing))
    return [*found.values()]


def failed_serving_check(store: mlmd.MetadataStore, model_id: int) -> bool:
    """Whether ServingCheck has taken a model and never come to its end with it: nobody serves that one."""
    taken = [
        event for event in store.get_events_by_artifact_ids([model_id]) if event.type == Event.INPUT
    ]
    executions = store.get_executions_by_id({event.execution_id for event in taken})
    names = {kind.id: kind.name for kind in store.get_execution_types()}
    checks = [
        item for item in executions if names[item.type_id].rpartition(".")[2] == SERVING_CHECK
    ]
    return bool(checks) and not any(map(is_execution_successful, checks))


def ancestors(store: mlmd.MetadataStore, artifact_id: int) -> set[int]:
    """Returns the ids of all artifacts that an artifact was made from, at first or at second hand."""
    known: set[int] = set()
    new = {artifact_id}
    while new:
        # Only OUTPUT: a resolver hands artifacts on as INTERNAL_OUTPUT and makes none.
        made = [
            event
            for event in store.get_events_by_artifact_ids([*new])
            if event.type == Event.OUTPUT
        ]
        makers = {event.execution_id for event in made}
        events = store.get_events_by_execution_ids([*makers]) if makers else []
        new = {event.artifact_id for event in events if event.type == Event.INPUT} - known
        known |= new
    return known
