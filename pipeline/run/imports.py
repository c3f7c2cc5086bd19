"""What each node's executor imports, so that it can be imported before the node is due.

The process that nodes are forked from imports these modules one after the other while earlier nodes
run, and forks only between two imports: a child then has every module whole or not at all. An
import that another thread had begun would stay half done in the child forever, so nothing else in
that process imports.
"""

from __future__ import annotations

from components.node.node_id import Node

_BEAM = ("polars", "pyarrow", "apache_beam")
_TFX_EXECUTORS = ("tensorflow", "tensorflow_data_validation", "tfx.types.standard_component_specs")
_TRANSFORM = ("tensorflow_transform.beam", "tfx.components.transform.executor")
_KERAS = ("keras", "tensorflow_transform", "tfx.components.trainer.executor")

# The modules of each node, what others need as well before the node's own.
IMPORTS: dict[Node, tuple[str, ...]] = {
    Node.EXAMPLE_GEN: (*_BEAM, "components.example_gen.executor"),
    Node.IMPORT_SCHEMA_GEN: (
        *_TFX_EXECUTORS,
        "tfx.components.schema_gen.import_schema_gen.executor",
    ),
    Node.STATISTICS_GEN: (*_BEAM, *_TFX_EXECUTORS, "tfx.components.statistics_gen.executor"),
    Node.EXAMPLE_VALIDATOR: (*_TFX_EXECUTORS, "tfx.components.example_validator.executor"),
    Node.DATA_GATE: ("components.data_gate.executor",),
    Node.TRANSFORM: (
        *_BEAM,
        *_TFX_EXECUTORS,
        *_TRANSFORM,
        "components.transform.preprocessing",
    ),
    Node.WARM_START_RESOLVER: ("components.baseline.strategy",),
    Node.TRAINER: (*_KERAS, "components.trainer.run"),
    Node.BASELINE_RESOLVER: ("components.baseline.strategy",),
    Node.EVALUATOR: ("components.evaluator.executor", "components.evaluator.evaluate"),
    Node.SERVING_CHECK: ("components.serving_check.executor",),
    Node.PUSHER: ("components.pusher.executor",),
    Node.REPORT: ("components.report.executor",),
}
