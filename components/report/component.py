"""Report: writes the results of a run, for people and for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.node.artifacts import RunReport
from components.node.cache_key import code_fingerprint
from components.node.definitions import NamedExecutor

if TYPE_CHECKING:
    from components.config.root import Config

EXECUTOR = "components.report.executor.Executor"


class ReportSpec(ComponentSpec):  # type: ignore[misc]
    """What Report reads and writes."""

    PARAMETERS = {
        "config": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "pushed_model": ChannelParameter(type=standard_artifacts.PushedModel),
    }
    OUTPUTS = {"report": ChannelParameter(type=RunReport)}


class Report(BaseComponent):  # type: ignore[misc]
    """The node that writes `report.html` for people and `metrics.json` for machines."""

    SPEC_CLASS = ReportSpec
    EXECUTOR_SPEC = NamedExecutor(EXECUTOR)


def make_report(
    config: Config,
    *,
    examples: BaseChannel,
    statistics: BaseChannel,
    schema: BaseChannel,
    anomalies: BaseChannel,
    model_run: BaseChannel,
    evaluation: BaseChannel,
    blessing: BaseChannel,
    pushed_model: BaseChannel,
) -> Report:
    """Returns the node.

    Args:
        config: shown in the report, without the sections that only set where nodes run.
        examples: ExampleGen's `examples`.
        statistics: StatisticsGen's `statistics`.
        schema: the curated `schema`.
        anomalies: ExampleValidator's `anomalies`.
        model_run: the Trainer's `model_run`.
        evaluation: the Evaluator's `evaluation`.
        blessing: the Evaluator's `blessing`.
        pushed_model: the Pusher's `pushed_model`.
    """
    spec = ReportSpec(
        config=json.dumps(config.recipe, sort_keys=True),
        code_fingerprint=code_fingerprint(EXECUTOR),
        examples=examples,
        statistics=statistics,
        schema=schema,
        anomalies=anomalies,
        model_run=model_run,
        evaluation=evaluation,
        blessing=blessing,
        pushed_model=pushed_model,
        report=Channel(type=RunReport),
    )
    return Report(spec)
