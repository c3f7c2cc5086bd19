"""DataGate behind TFX's own ExampleValidator."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_data_validation import StatsOptions
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tfx.components.example_validator.executor import Executor as ExampleValidatorExecutor
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.contracts.anomalies import FoundAnomalies
from components.data_gate.component import make_data_gate
from components.data_gate.executor import Executor
from components.errors import AnomalyError
from components.node.artifacts import DataVerdict

SCHEMA = """
feature { name: "num_steps" type: INT int_domain { min: 0 max: 10 } presence { min_fraction: 1 } }
"""


def _validated(folder: Path, test_values: list[int]) -> dict[str, list[object]]:
    """Statistics as StatisticsGen writes them, and what TFX's ExampleValidator makes of them."""
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri, statistics.splits, statistics.span = (
        str(folder / "statistics"),
        ["train", "test"],
        0,
    )
    for split, values in {"train": [1, 2, 3], "test": test_values}.items():
        column = pa.array([[value] for value in values], pa.large_list(pa.int64()))
        counted = generate_statistics_in_memory(
            pa.RecordBatch.from_pydict({"num_steps": column}), StatsOptions()
        )
        (folder / "statistics" / f"Split-{split}").mkdir(parents=True)
        (folder / "statistics" / f"Split-{split}" / "FeatureStats.pb").write_bytes(
            counted.SerializeToString()
        )
    schema = standard_artifacts.Schema()
    schema.uri = str(folder / "schema")
    Path(schema.uri).mkdir()
    Path(schema.uri, "schema.pbtxt").write_text(
        text_format.MessageToString(text_format.Parse(SCHEMA, Schema()))
    )
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(folder / "anomalies")
    ExampleValidatorExecutor().Do(
        {"statistics": [statistics], "schema": [schema]}, {"anomalies": [anomalies]}, {}
    )
    return {"anomalies": [anomalies], "statistics": [statistics]}


def _verdict(folder: Path) -> DataVerdict:
    verdict = DataVerdict()
    verdict.uri = str(folder / "verdict")
    return verdict


def test_clean_examples_get_an_empty_verdict(tmp_path: Path) -> None:
    verdict = _verdict(tmp_path)

    Executor().Do(_validated(tmp_path, [4, 5]), {"verdict": [verdict]}, {})

    assert FoundAnomalies.read(Path(verdict.uri)).anomalies == []


def test_an_anomaly_in_any_split_stops_the_run_without_a_verdict(tmp_path: Path) -> None:
    verdict = _verdict(tmp_path)

    with pytest.raises(
        AnomalyError, match="test, num_steps: expected numbers from 0 to 10; found 4 to 99"
    ):
        Executor().Do(_validated(tmp_path, [4, 99]), {"verdict": [verdict]}, {})

    assert not Path(verdict.uri).exists()


def test_the_node_has_its_name_and_its_code_in_the_cache_key() -> None:
    node = make_data_gate(
        anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        statistics=Channel(type=standard_artifacts.ExampleStatistics),
    )

    assert node.id == "DataGate"
    assert node.exec_properties["code_fingerprint"]
