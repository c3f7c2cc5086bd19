"""DataGate's executor: reads the anomalies and statistics of all splits, and stops on anomalies."""

from __future__ import annotations

from pathlib import Path
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

from components.contracts.anomalies import Anomaly, FoundAnomalies
from components.contracts.names import ANOMALIES_FILE, STATISTICS_FILE
from components.data_gate.tfdv_anomalies import judge_split, stop_on


class Executor(BaseExecutor):  # type: ignore[misc]
    """Collects the anomalies of all splits; writes the verdict if none of them stops the run."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],  # noqa: ARG002 - part of TFX's interface
    ) -> None:
        """Writes `verdict.json`; its list of anomalies is empty or has warnings only.

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
        FoundAnomalies(anomalies=found).write(Path(verdict.uri))


def _read(artifact: Artifact, split: str, name: str) -> bytes:
    folder = artifact_utils.get_split_uri([artifact], split)
    with fileio.open(f"{folder}/{name}", "rb") as file:
        content: bytes = file.read()
    return content


def _statistics(content: bytes) -> DatasetFeatureStatistics:
    """Returns the unsliced statistics of a split, empty if the file has none."""
    datasets = DatasetFeatureStatisticsList.FromString(content).datasets
    return datasets[0] if datasets else DatasetFeatureStatistics()
