"""A small pipeline on the real launcher: which model a run is compared with and starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto.metadata_store_pb2 import Event, Execution
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.types import standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.baseline.component import make_baseline_resolver, make_warm_start_resolver
from components.evaluator.executor import bless

EVERYTHING = {"Gen", "Trainer", "Evaluator"}
OUTPUTS = {Event.OUTPUT, Event.INTERNAL_OUTPUT}


class _GenSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {"data": ExecutionParameter(type=str)}
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class _TrainerSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {"setting": ExecutionParameter(type=str)}
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "base_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}


class _EvaluatorSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {"gate": ExecutionParameter(type=str)}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.ModelBlessing)}


class _ServingCheckSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {"gate": ExecutionParameter(type=str)}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)}


class WritingExecutor(BaseExecutor):  # type: ignore[misc]
    """Writes a file into every output, so that it counts as made."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:  # noqa: ARG002
        for [artifact] in output_dict.values():
            Path(artifact.uri, "content").write_text(str(exec_properties))


class BlessingExecutor(BaseExecutor):  # type: ignore[misc]
    """Blesses the model unless the gate says "fail"."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        [model], baselines, [blessing] = (
            input_dict["model"],
            input_dict["baseline_model"],
            output_dict["blessing"],
        )
        bless(
            blessing,
            model,
            baselines[0] if baselines else None,
            blessed=exec_properties["gate"] != "fail",
        )


class ServingExecutor(WritingExecutor):
    """Raises an error if the gate says "not servable"."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        if exec_properties["gate"] == "not servable":
            raise NotServableError
        super().Do(input_dict, output_dict, exec_properties)


class NotServableError(Exception):
    """A graph that no server loads."""


class Gen(BaseComponent):  # type: ignore[misc]
    """Makes examples of `data`."""

    SPEC_CLASS = _GenSpec
    EXECUTOR_SPEC = ExecutorClassSpec(WritingExecutor)


class Trainer(BaseComponent):  # type: ignore[misc]
    """Makes a model."""

    SPEC_CLASS = _TrainerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(WritingExecutor)


class Evaluator(BaseComponent):  # type: ignore[misc]
    """Makes a blessing."""

    SPEC_CLASS = _EvaluatorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(BlessingExecutor)


class ServingCheck(BaseComponent):  # type: ignore[misc]
    """Says whether a model can be served."""

    SPEC_CLASS = _ServingCheckSpec
    EXECUTOR_SPEC = ExecutorClassSpec(ServingExecutor)


class Runs:
    """Runs the pipeline in a folder again and again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def __call__(self, data: str, setting: str, gate: str = "pass") -> dict[str, Any]:
        """Returns the ids of the run's model, baseline and base, and the nodes that were cached."""
        self.count += 1
        plan = compiler.Compiler().compile(self._pipeline(data, setting, gate))
        runtime_parameter_utils.substitute_runtime_parameter(
            plan, {"pipeline-run-id": f"run-{self.count}"}
        )
        deployment = runner_utils.extract_local_deployment_config(plan)
        executions: dict[str, int] = {}
        for node in plan.nodes:
            name = node.pipeline_node.node_info.id
            info = launcher.Launcher(
                pipeline_node=node.pipeline_node,
                mlmd_connection=metadata.Metadata(self._store),
                pipeline_info=plan.pipeline_info,
                pipeline_runtime_spec=plan.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            ).launch()
            executions[name] = info.execution_id
        with metadata.Metadata(self._store) as handle:
            return _summary(handle.store, executions)

    @property
    def _store(self) -> Any:
        return metadata.sqlite_metadata_connection_config(str(self.root / "metadata.sqlite"))

    def _pipeline(self, data: str, setting: str, gate: str) -> pipeline.Pipeline:
        gen = Gen(_GenSpec(data=data, examples=Channel(type=standard_artifacts.Examples)))
        examples = gen.outputs["examples"]
        base = make_warm_start_resolver(examples)
        trainer = Trainer(
            _TrainerSpec(
                setting=setting,
                examples=examples,
                base_model=base.outputs["model"],
                model=Channel(type=standard_artifacts.Model),
            )
        )
        baseline = make_baseline_resolver(trainer.outputs["model"])
        evaluator = Evaluator(
            _EvaluatorSpec(
                gate=gate,
                model=trainer.outputs["model"],
                baseline_model=baseline.outputs["model"],
                blessing=Channel(type=standard_artifacts.ModelBlessing),
            )
        )
        serving_check = ServingCheck(
            _ServingCheckSpec(
                gate=gate,
                model=trainer.outputs["model"],
                model_blessing=evaluator.outputs["blessing"],
                blessing=Channel(type=standard_artifacts.InfraBlessing),
            )
        )
        return pipeline.Pipeline(
            pipeline_name="small",
            pipeline_root=str(self.root / "nodes"),
            components=[gen, base, trainer, baseline, evaluator, serving_check],
            enable_cache=True,
            metadata_connection_config=self._store,
        )


def _summary(store: mlmd.MetadataStore, executions: dict[str, int]) -> dict[str, Any]:
    def output(node: str) -> int | None:
        events = store.get_events_by_execution_ids([executions[node]])
        ids = [
            event.artifact_id
            for event in events
            if event.type in OUTPUTS and event.path.steps[0].key == "model"
        ]
        assert len(ids) <= 1
        return ids[0] if ids else None

    states = {
        node: store.get_executions_by_id([id_])[0].last_known_state
        for node, id_ in executions.items()
    }
    return {
        "model": output("Trainer"),
        "baseline": output("BaselineResolver"),
        "base": output("WarmStartResolver"),
        "cached": {node for node in EVERYTHING if states[node] == Execution.CACHED},
    }
