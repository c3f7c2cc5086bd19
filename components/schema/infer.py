"""Infers a first schema from a log's statistics, and compares a schema with those of a new log."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.config.beam import Beam
from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, STEP_UNIT, UNIT
from components.data_gate.outcomes import count_missing
from components.data_gate.tfdv_anomalies import describe_anomalies
from components.monitoring.thresholds import INFINITY_NORM, JENSEN_SHANNON

if TYPE_CHECKING:
    from components.config.root import Config

# A column with more different values than this is free text or a key, and has no domain.
MAX_DOMAIN = 50
_OPEN = (LEARNER, UNIT, AS_OF, STEP_UNIT)


def statistics_of(
    batches: Iterable[pa.RecordBatch],
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns TFDV's statistics of decoded examples, which are in this process, as Beam is.

    Args:
        batches: examples as Arrow record batches of list columns.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "statistics.pb"))
        with beam.Pipeline(argv=Beam().options) as pipeline:
            _ = (
                pipeline
                | beam.Create(list(batches), reshuffle=False)
                | tfdv.GenerateStatistics(tfdv.StatsOptions())
                | tfdv.WriteStatisticsToBinaryFile(file)
            )
        return tfdv.load_stats_binary(file)


def infer_schema(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, config: Config
) -> schema_pb2.Schema:
    """Returns a first schema for a human to curate.

    Steps become ragged tensors, all other columns sparse ones. Columns with few different values
    get a domain that allows one value in a hundred to be new; keys get none. Columns that every
    outcome has are required.
    """
    schema = tfdv.infer_schema(
        statistics, infer_feature_shape=False, max_string_domain_size=MAX_DOMAIN
    )

    # Once one feature has a representation, TFX requires one for every feature that it reads.
    representations = schema.tensor_representation_group[""].tensor_representation
    for feature in schema.feature:
        feature.ClearField("value_count")
        if feature.name in _OPEN:
            feature.ClearField("domain")
        elif feature.HasField("domain"):
            feature.distribution_constraints.min_domain_mass = 0.99

        representation = representations[feature.name]
        if feature.name in config.steps.features:
            representation.ragged_tensor.feature_path.step.append(feature.name)
            _as_steps(schema, feature)
            continue
        representation.varlen_sparse_tensor.column_name = feature.name
        if config.steps.shared and feature.name in config.outcome_columns:
            _allow_missing_in_lists(schema, feature, statistics)
        if feature.name == NUM_STEPS:
            feature.int_domain.min = 0
            feature.int_domain.max = config.steps.max_steps

    _drop_unused_domains(schema)
    _allow_drift(schema, config)
    return schema


def _allow_drift(schema: schema_pb2.Schema, config: Config) -> None:
    """Says how far inputs, the label and units may move until retraining is called for.

    TFDV compares with earlier or served statistics only, so they change no verdict of DataGate.
    """
    inputs = {**config.steps.features, **config.context}
    judged = {*inputs, *config.prior.group_by, config.label.column, NUM_STEPS, UNIT}
    for feature in schema.feature:
        if feature.name not in judged:
            continue
        for comparator in (feature.drift_comparator, feature.skew_comparator):
            if feature.type == schema_pb2.BYTES:
                comparator.infinity_norm.threshold = INFINITY_NORM
            else:
                comparator.jensen_shannon_divergence.threshold = JENSEN_SHANNON


def _as_steps(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> None:
    # A cold start has no steps, so the share of examples with steps is not checked.
    feature.presence.Clear()
    feature.presence.min_count = 1
    _allow_empty(schema, feature)


def _allow_missing_in_lists(
    schema: schema_pb2.Schema,
    feature: schema_pb2.Feature,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> None:
    """Requires a column of outcomes that share examples only if no outcome lacks it."""
    dataset = statistics.datasets[0]
    [found] = [item for item in dataset.features if item.path.step[0] == feature.name]
    if count_missing(found, dataset):
        feature.presence.Clear()
        feature.presence.min_count = 1
        _allow_empty(schema, feature)


def _allow_empty(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> None:
    """Adds the empty string, which is a missing value in a list, to the domain of a column."""
    if feature.HasField("domain"):
        domain = next(item for item in schema.string_domain if item.name == feature.domain)
        if "" not in domain.value:
            domain.value.append("")


def _drop_unused_domains(schema: schema_pb2.Schema) -> None:
    used = {feature.domain for feature in schema.feature}
    kept = [domain for domain in schema.string_domain if domain.name in used]
    del schema.string_domain[:]
    schema.string_domain.extend(kept)


def to_text(schema: schema_pb2.Schema) -> str:
    """Returns a schema as a text protocol buffer, the form that is curated by hand."""
    return str(text_format.MessageToString(schema, as_utf8=True))


def _with_types_of(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, schema: schema_pb2.Schema
) -> schema_pb2.Schema:
    """Returns the schema with the types of the log.

    TFDV would deprecate a column of another type instead of changing it.
    """
    kinds = statistics_pb2.FeatureNameStatistics
    types = {
        kinds.STRING: schema_pb2.BYTES,
        kinds.INT: schema_pb2.INT,
        kinds.FLOAT: schema_pb2.FLOAT,
    }
    found = {
        item.name or ".".join(item.path.step): types.get(item.type)
        for item in statistics.datasets[0].features
    }

    typed = schema_pb2.Schema()
    typed.CopyFrom(schema)
    for feature in typed.feature:
        other = found.get(feature.name)
        if other is not None and feature.type not in (schema_pb2.TYPE_UNKNOWN, other):
            feature.type = other
            for domain in ("domain", "int_domain", "float_domain", "string_domain"):
                feature.ClearField(domain)
    return typed


def schema_changes(
    schema: schema_pb2.Schema, statistics: statistics_pb2.DatasetFeatureStatisticsList
) -> list[str]:
    """Compares a schema with the statistics of a log.

    Returns:
        The anomalies in words, then the lines of the schema that would have to change, as a diff;
        empty if the log fits.
    """
    found = tfdv.validate_statistics(statistics, schema)
    anomalies = describe_anomalies(found, split="log", statistics=statistics.datasets[0])

    widened = tfdv.update_schema(_with_types_of(statistics, schema), statistics)
    before = to_text(schema).splitlines()
    after = to_text(widened).splitlines()
    changes = difflib.unified_diff(before, after, "schema", "schema for this log", lineterm="", n=4)
    return [*map(str, anomalies), *changes]
