"""The node DataGate: its inputs, its output, and how it is made."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.node.artifacts import DataVerdict
from components.node.cache_key import code_fingerprint
from components.node.definitions import NamedExecutor

EXECUTOR = "components.data_gate.executor.Executor"


class DataGateSpec(ComponentSpec):  # type: ignore[misc]
    """DataGate's inputs and output; it has no part of the configuration."""

    PARAMETERS = {
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    OUTPUTS = {"verdict": ChannelParameter(type=DataVerdict)}


class DataGate(BaseComponent):  # type: ignore[misc]
    """The node that fails on anomalies, with a list for people; otherwise writes `verdict.json`."""

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = NamedExecutor(EXECUTOR)


def make_data_gate(*, anomalies: BaseChannel, statistics: BaseChannel) -> DataGate:
    """Returns the node.

    Args:
        anomalies: ExampleValidator's `anomalies`.
        statistics: StatisticsGen's `statistics` of the same examples, for the counts in the list.
    """
    spec = DataGateSpec(
        anomalies=anomalies,
        statistics=statistics,
        verdict=Channel(type=DataVerdict),
        config="{}",
        code_fingerprint=code_fingerprint(EXECUTOR),
    )
    return DataGate(spec=spec)
