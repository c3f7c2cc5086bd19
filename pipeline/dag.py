"""The DAG: the only place where nodes are chained."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration import pipeline

from components.baseline.component import make_baseline_resolver, make_warm_start_resolver
from components.data_gate.component import make_data_gate
from components.evaluator.component import make_evaluator
from components.example_gen.component import make_example_gen
from components.node.cache_key import code_fingerprint
from components.node.definitions import (
    ExampleValidator,
    ImportSchemaGen,
    StatisticsGen,
    make_node,
)
from components.pusher.component import make_pusher
from components.report.component import make_report
from components.serving_check.component import make_serving_check
from components.trainer.component import make_trainer
from components.transform.component import make_transform

if TYPE_CHECKING:
    from components.config import Config
    from components.config.beam import Beam
    from pipeline.layout import Layout

RUNNER = "components.node.in_memory_runner"  # of Beam, in a node's process


def create_pipeline(
    config: Config, layout: Layout, *, enable_cache: bool = True
) -> pipeline.Pipeline:
    """Returns the pipeline of a configuration: the same for every runner.

    It names no metadata store: the launcher of a node does.

    Args:
        config: what to run.
        layout: where artifacts and pushed models are kept.
        enable_cache: whether a node whose inputs, configuration and code are unchanged is taken
            from an earlier run.
    """
    return pipeline.Pipeline(
        pipeline_name=layout.store_name,
        pipeline_root=str(layout.nodes),
        components=_nodes(config, layout),
        enable_cache=enable_cache,
        beam_pipeline_args=_beam_options(config.beam),
    )


def _beam_options(beam: Beam) -> list[str]:
    """Returns the options of the nodes' Beam pipelines, which are part of their cache keys.

    The runner in a node's process decides results as the node's own code does. Here a job's name
    has no other effect. On Flink, which gives the same results, nodes have the same keys.
    """
    keyed = beam.keyed
    if not keyed.runs_here:
        return keyed.node_options
    return [f"--job_name=mastery-{code_fingerprint(RUNNER)}", *keyed.node_options]


def _nodes(config: Config, layout: Layout) -> list[BaseNode]:
    # Joins events and outcomes point in time; splits by learner or unit.
    example_gen = make_example_gen(config)
    examples = example_gen.outputs["examples"]

    # Describes every split, and compares it with the curated schema.
    statistics_gen = make_node(StatisticsGen, examples=examples)
    schema_gen = make_node(ImportSchemaGen, schema_file=str(layout.schema_snapshot(config)))
    schema = schema_gen.outputs["schema"]
    validator = make_node(
        ExampleValidator, statistics=statistics_gen.outputs["statistics"], schema=schema
    )

    # Stops the run on anomalies, before anything is trained; Transform need not wait for that.
    data_gate = make_data_gate(
        anomalies=validator.outputs["anomalies"], statistics=statistics_gen.outputs["statistics"]
    )

    # Learns vocabularies, scales and priors on the train split; its graph is served with the model.
    transform = make_transform(config, examples=examples, schema=schema)

    # Fits the sequence model, from scratch or from the latest blessed one.
    warm_start = make_warm_start_resolver(examples) if config.training.warm_start else None
    trainer = make_trainer(
        config,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        base_model=warm_start.outputs["model"] if warm_start else None,
    )
    trainer.add_upstream_node(data_gate)
    model = trainer.outputs["model"]

    # Judges it on the test split, by the gates and against the latest blessed model before it.
    baseline = make_baseline_resolver(model)
    evaluator = make_evaluator(
        config,
        examples=examples,
        model=model,
        model_run=trainer.outputs["model_run"],
        baseline_model=baseline.outputs["model"],
    )
    evaluation, blessing = evaluator.outputs["evaluation"], evaluator.outputs["blessing"]

    # Loads it as a server would and replays real requests: no training-serving skew.
    serving_check = make_serving_check(
        config, examples=examples, model=model, evaluation=evaluation
    )

    # Adds one version, with its papers, to the folder that TensorFlow Serving watches, if both
    # blessed the model.
    pusher = make_pusher(
        config,
        directory=str(layout.serving(config)),
        examples=examples,
        model=serving_check.outputs["model"],
        model_blessing=blessing,
        infra_blessing=serving_check.outputs["blessing"],
        evaluation=evaluation,
        statistics=statistics_gen.outputs["statistics"],
        model_run=trainer.outputs["model_run"],
        signed=config.push.key_for_signing(os.environ) is not None,
    )

    # Writes the run down for people.
    report = make_report(
        config,
        examples=examples,
        statistics=statistics_gen.outputs["statistics"],
        schema=schema,
        anomalies=validator.outputs["anomalies"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluation,
        blessing=blessing,
        pushed_model=pusher.outputs["pushed_model"],
    )
    nodes = [
        example_gen, statistics_gen, schema_gen, validator, data_gate, transform, warm_start,
        trainer, baseline, evaluator, serving_check, pusher, report,
    ]  # fmt: skip
    return [node for node in nodes if node is not None]
