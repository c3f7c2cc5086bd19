"""Names of the nodes: their ids in TFX, their folders below the root, and what people type."""

from __future__ import annotations

from enum import StrEnum


class Node(StrEnum):
    """A node of the DAG by its id, in the order of a run.

    >>> Node("Trainer") is Node.TRAINER, f"{Node.TRAINER}"
    (True, 'Trainer')
    """

    EXAMPLE_GEN = "ExampleGen"
    IMPORT_SCHEMA_GEN = "ImportSchemaGen"
    STATISTICS_GEN = "StatisticsGen"
    EXAMPLE_VALIDATOR = "ExampleValidator"
    DATA_GATE = "DataGate"
    TRANSFORM = "Transform"
    WARM_START_RESOLVER = "WarmStartResolver"
    TRAINER = "Trainer"
    BASELINE_RESOLVER = "BaselineResolver"
    EVALUATOR = "Evaluator"
    SERVING_CHECK = "ServingCheck"
    PUSHER = "Pusher"
    REPORT = "Report"
