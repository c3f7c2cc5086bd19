"""Reads what ExampleValidator and StatisticsGen wrote, and stops the run on anomalies."""

from __future__ import annotations

import json
from typing import Any

from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatistics,
    DatasetFeatureStatisticsList,
)
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components.data_gate.tfdv_anomalies import Anomaly, judge_split, stop_on
from components.files.atomic import write_text

VERDICT = "verdict.json"
ANOMALIES_FILE = "SchemaDiff.pb"  # as ExampleValidator writes it, in a folder a split
STATISTICS_FILE = "FeatureStats.pb"  # as StatisticsGen writes it


class Executor(BaseExecutor):  # type: ignore[misc]
    """Gathers the anomalies of all splits; with none that stops the run, writes the verdict."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],  # noqa: ARG002 - part of what TFX calls
    ) -> None:
        """Writes `verdict.json`: {"anomalies": [...]}, empty or warnings only.

        Raises:
            AnomalyError: the examples do not fit the schema.
        """
        validated = artifact_utils.get_single_instance(input_dict["anomalies"])
        counted = artifact_utils.get_single_instance(input_dict["statistics"])
        found: list[Anomaly] = []
        for split in validated.splits:
            anomalies = Anomalies.FromString(_read(validated, split, ANOMALIES_FILE))
            statistics = _statistics(_read(counted, split, STATISTICS_FILE))
            found += judge_split(split, anomalies, statistics)
        stop_on(found)
        verdict = artifact_utils.get_single_instance(output_dict["verdict"])
        content = {"anomalies": [anomaly.as_json() for anomaly in found]}
        write_text(f"{verdict.uri}/{VERDICT}", json.dumps(content, indent=2) + "\n")


def _read(artifact: Artifact, split: str, name: str) -> bytes:
    folder = artifact_utils.get_split_uri([artifact], split)
    with fileio.open(f"{folder}/{name}", "rb") as file:
        content: bytes = file.read()
    return content


def _statistics(content: bytes) -> DatasetFeatureStatistics:
    """Returns the statistics of a split, unsliced; those of no examples at all where the file has none."""
    datasets = DatasetFeatureStatisticsList.FromString(content).datasets
    return datasets[0] if datasets else DatasetFeatureStatistics()
