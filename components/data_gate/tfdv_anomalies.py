"""Turns TFDV's anomalies into what a person can act on: one entry a column, expected and found, with counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo
from tensorflow_metadata.proto.v0.schema_pb2 import Feature, Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatistics,
    FeatureNameStatistics,
)

from components.contracts.names import SPLITS
from components.data_gate.anomaly_reasons import DATASET, Column, expected_and_found
from components.errors import AnomalyError

TRAIN = SPLITS[0]


@dataclass(frozen=True)
class Anomaly:
    """One column of one split that does not fit the schema."""

    split: str
    column: str  # "(examples)" for the split as a whole
    stops: bool  # False: worth knowing, no reason to stop the run (TFDV's severity WARNING)
    expected: str
    found: str  # with how many values or examples, wherever the statistics tell

    def __str__(self) -> str:
        return f"{self.split}, {self.column}: expected {self.expected}; found {self.found}."

    def as_json(self) -> dict[str, object]:
        """Returns the fields by name, for `verdict.json`."""
        return asdict(self)


def judge_split(
    split: str, anomalies: Anomalies, statistics: DatasetFeatureStatistics
) -> list[Anomaly]:
    """Returns all that is wrong with a split, one entry a column: TFDV's anomalies and what TFDV does not look for."""
    found = describe_anomalies(anomalies, split=split, statistics=statistics)
    if split != TRAIN:  # elsewhere a rare column may hold nothing by chance
        return found
    named = {anomaly.column for anomaly in found}
    return found + [
        anomaly
        for anomaly in columns_without_values(split, statistics)
        if anomaly.column not in named
    ]


def describe_anomalies(
    anomalies: Anomalies, *, split: str = "", statistics: DatasetFeatureStatistics | None = None
) -> list[Anomaly]:
    """Describes what TFDV found in one split, one entry a column, in the order of the schema.

    Args:
        anomalies: what `tfdv.validate_statistics` answered; it carries the schema it compared with.
        split: name of the split, for the reader.
        statistics: those that were validated; without them TFDV's own words stand in for the counts.
    """
    schema = anomalies.baseline
    features = {feature.name: feature for feature in schema.feature}
    observed = (
        {_dotted(item.path.step) or item.name: item for item in statistics.features}
        if statistics
        else {}
    )
    examples = statistics.num_examples if statistics else None
    described = []
    infos = {_dotted(info.path.step) or name: info for name, info in anomalies.anomaly_info.items()}
    order = {name: position for position, name in enumerate(features)}
    for name in sorted(infos, key=lambda name: (order.get(name, len(order)), name)):
        column = _column(schema, features.get(name), observed.get(name), examples)
        described.append(_describe(split, name, infos[name], column))
    if anomalies.HasField("dataset_anomaly_info"):
        column = _column(schema, None, None, examples)
        described.append(_describe(split, DATASET, anomalies.dataset_anomaly_info, column))
    if anomalies.data_missing or examples == 0:
        described.append(Anomaly(split, DATASET, True, "examples", "none"))
    return described


def columns_without_values(split: str, statistics: DatasetFeatureStatistics) -> list[Anomaly]:
    """Finds numeric columns that hold NaN only: TFDV takes NaN for a value, so it sees nothing missing."""
    found = []
    for item in statistics.features:
        values = item.num_stats.common_stats.tot_num_values
        missing = max((histogram.num_nan for histogram in item.num_stats.histograms), default=0)
        if values and missing == values:
            found.append(
                Anomaly(
                    split,
                    _dotted(item.path.step) or item.name,
                    True,
                    "numbers",
                    f"NaN only, in {values:,} values",
                )
            )
    return found


def stop_on(anomalies: list[Anomaly]) -> None:
    """Does nothing unless one of `anomalies` stops the run.

    Raises:
        AnomalyError: with one line a column, and what can be done about it.
    """
    stopping = [anomaly for anomaly in anomalies if anomaly.stops]
    if not stopping:
        return
    raise AnomalyError(
        "\n".join(
            [
                "The examples do not fit the schema; nothing was trained:",
                *(f"  - {anomaly}" for anomaly in stopping),
                "Put the log right; or, if this is how the data is meant to be, change the schema file that the "
                "configuration names (`mastery schema diff` shows which lines), and run again.",
            ]
        )
    )


def _describe(split: str, name: str, info: AnomalyInfo, column: Column) -> Anomaly:
    pairs = [expected_and_found(reason, column) for reason in info.reason]
    if not pairs:  # an anomaly without reasons still has a description
        pairs = [("what the schema says", info.description)]
    expected = dict.fromkeys(pair[0] for pair in pairs)
    found = dict.fromkeys(pair[1] for pair in pairs)
    return Anomaly(
        split, name, info.severity != AnomalyInfo.WARNING, _joined(expected), _joined(found)
    )


def _joined(texts: dict[str, None]) -> str:
    return ", and ".join(text.strip().rstrip(".") for text in texts)


def _column(
    schema: Schema,
    feature: Feature | None,
    statistics: FeatureNameStatistics | None,
    examples: int | None,
) -> Column:
    return Column(
        schema, feature or Feature(), statistics, int(examples) if examples is not None else None
    )


def _dotted(steps: Iterable[str]) -> str:
    return ".".join(steps)
