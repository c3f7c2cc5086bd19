"""Turns TFDV's anomalies into entries for people, and stops a run on them.

There is one entry per column, with the expected and the found values and their counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo
from tensorflow_metadata.proto.v0.path_pb2 import Path
from tensorflow_metadata.proto.v0.schema_pb2 import Feature
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics

from components.contracts.anomalies import Anomaly
from components.contracts.names import TRAIN
from components.data_gate.anomaly_reasons import DATASET, Column, expected_and_found
from components.data_gate.outcomes import outcomes_without_values
from components.errors import AnomalyError


def judge_split(
    split: str, anomalies: Anomalies, statistics: DatasetFeatureStatistics
) -> list[Anomaly]:
    """Returns all anomalies of a split: TFDV's, and values that are missing unseen by TFDV."""
    found = describe_anomalies(anomalies, split=split, statistics=statistics)
    found += outcomes_without_values(split, anomalies.baseline, statistics)
    if split != TRAIN:  # in smaller splits a rare column may be empty by chance
        return found

    known = {anomaly.column for anomaly in found}
    empty = columns_without_values(split, statistics)
    return found + [anomaly for anomaly in empty if anomaly.column not in known]


def describe_anomalies(
    anomalies: Anomalies, *, split: str = "", statistics: DatasetFeatureStatistics | None = None
) -> list[Anomaly]:
    """Describes TFDV's anomalies of one split, one entry per column, in the order of the schema.

    Args:
        anomalies: the result of `tfdv.validate_statistics`, which includes the schema.
        split: name of the split.
        statistics: the statistics that were validated; without them, entries have TFDV's own words
            instead of counts.
    """
    schema = anomalies.baseline
    features = {feature.name: feature for feature in schema.feature}
    observed = {}
    examples = None
    if statistics is not None:
        observed = {_name_of(item.path, item.name): item for item in statistics.features}
        examples = int(statistics.num_examples)

    infos = {_name_of(info.path, name): info for name, info in anomalies.anomaly_info.items()}
    order = {name: position for position, name in enumerate(features)}
    described = []
    for name in sorted(infos, key=lambda name: (order.get(name, len(order)), name)):
        column = Column(schema, features.get(name, Feature()), observed.get(name), examples)
        described.append(_describe(split, name, infos[name], column))

    if anomalies.HasField("dataset_anomaly_info"):
        dataset = Column(schema, Feature(), None, examples)
        described.append(_describe(split, DATASET, anomalies.dataset_anomaly_info, dataset))
    if anomalies.data_missing or examples == 0:
        described.append(
            Anomaly(split=split, column=DATASET, stops=True, expected="examples", found="none")
        )
    return described


def _describe(split: str, name: str, info: AnomalyInfo, column: Column) -> Anomaly:
    pairs = [expected_and_found(reason, column) for reason in info.reason]
    if not pairs:  # an anomaly without reasons still has a description
        pairs = [("what the schema says", info.description)]
    return Anomaly(
        split=split,
        column=name,
        stops=info.severity != AnomalyInfo.WARNING,
        expected=_join([expected for expected, _ in pairs]),
        found=_join([found for _, found in pairs]),
    )


def _join(texts: Sequence[str]) -> str:
    return ", and ".join(text.strip().rstrip(".") for text in dict.fromkeys(texts))


def _name_of(path: Path, name: str) -> str:
    return ".".join(path.step) or name


def columns_without_values(split: str, statistics: DatasetFeatureStatistics) -> list[Anomaly]:
    """Returns numeric columns of NaN only; TFDV counts NaN as a value, so it does not miss any."""
    found = []
    for item in statistics.features:
        values = item.num_stats.common_stats.tot_num_values
        missing = max((histogram.num_nan for histogram in item.num_stats.histograms), default=0)
        if not values or missing != values:
            continue

        anomaly = Anomaly(
            split=split,
            column=_name_of(item.path, item.name),
            stops=True,
            expected="numbers",
            found=f"NaN only, in {values:,} values",
        )
        found.append(anomaly)
    return found


def stop_on(anomalies: list[Anomaly]) -> None:
    """Stops the run if one of `anomalies` does not fit the schema and is not a mere warning.

    Raises:
        AnomalyError: there is such an anomaly; the text has one line for each, and advice.
    """
    stopping = [f"  - {anomaly}" for anomaly in anomalies if anomaly.stops]
    if not stopping:
        return

    first = "The examples do not fit the schema; nothing was trained:"
    advice = (
        "Correct the log. Or, if the data is right, change the schema file that the configuration "
        "names (`mastery schema diff` shows which lines). Then run again."
    )
    raise AnomalyError("\n".join([first, *stopping, advice]))
