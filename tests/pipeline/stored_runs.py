"""Puts runs into a metadata store as TFX's launcher does, without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.config import Metadata
from pipeline.layout import Layout
from pipeline.store.connection import connect_to_store, connection_config

RESOLVER = "tfx.dsl.components.common.resolver.Resolver"


class StoredRuns:
    """A metadata store below a root, and what tests put into it.

    Attributes:
        store: the store.
        layout: of the pipeline that the runs are of.
    """

    def __init__(self, root: Path, name: str = "sample") -> None:
        self.layout = Layout(root, name)
        self.store: MetadataStore = connect_to_store(connection_config(Metadata(), self.layout))

    def artifact(self, uri: str, **properties: str | int) -> mlmd.Artifact:
        """Returns the artifact with an address: the stored one if there is one, else a new one."""
        known = self.store.get_artifacts_by_uri(uri)
        if known:
            return known[0]
        kind = self.store.put_artifact_type(mlmd.ArtifactType(name="Output"))
        made = mlmd.Artifact(type_id=kind, uri=uri, state=mlmd.Artifact.LIVE)
        for name, value in properties.items():
            field = "int_value" if isinstance(value, int) else "string_value"
            setattr(made.custom_properties[name], field, value)
        return made

    def execute(
        self,
        run: str,
        node: str,
        state: int = mlmd.Execution.COMPLETE,
        outputs: Mapping[str, list[mlmd.Artifact]] | None = None,
        *,
        inputs: Mapping[str, list[mlmd.Artifact]] | None = None,
        kind: str = "",
        event: int = mlmd.Event.OUTPUT,
    ) -> mlmd.Execution:
        """Puts an execution of a node in a run, and returns it as stored."""
        contexts = [
            mlmd.Context(type_id=self._kind("pipeline_run"), name=run),
            mlmd.Context(type_id=self._kind("node"), name=f"{self.layout.store_name}.{node}"),
        ]
        pairs = []
        for what, groups in ((event, outputs), (mlmd.Event.INPUT, inputs)):
            for key, artifacts in (groups or {}).items():
                for index, artifact in enumerate(artifacts):
                    made = mlmd.Event(type=what)
                    made.path.steps.add().key = key
                    made.path.steps.add().index = index
                    pairs.append((artifact, made))
        number, _, _ = self.store.put_execution(
            mlmd.Execution(
                type_id=self.store.put_execution_type(mlmd.ExecutionType(name=kind or node)),
                last_known_state=state,
            ),
            pairs,
            contexts,
            reuse_context_if_already_exist=True,
        )
        [execution] = self.store.get_executions_by_id([number])
        return execution

    def set_property(self, run: str, name: str, value: str) -> None:
        """Sets a custom property of a run's context."""
        context = self.store.get_context_by_type_and_name("pipeline_run", run)
        context.custom_properties[name].string_value = value
        self.store.put_contexts([context])

    def _kind(self, name: str) -> int:
        return int(self.store.put_context_type(mlmd.ContextType(name=name)))
