"""Describes the expected and the found values for each kind of anomaly that TFDV knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tensorflow_metadata.proto.v0.anomalies_pb2 import AnomalyInfo
from tensorflow_metadata.proto.v0.schema_pb2 import Feature, FeatureType, Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    CommonStatistics,
    FeatureNameStatistics,
    Histogram,
)

DATASET = "(examples)"  # instead of a column's name, for a split as a whole
SHOWN = 8  # values listed before "and n more"
TYPES = {
    FeatureType.BYTES: "text",
    FeatureType.INT: "integers (INT)",
    FeatureType.FLOAT: "numbers (FLOAT)",
}
FOUND_TYPES = {
    FeatureNameStatistics.STRING: "text",
    FeatureNameStatistics.BYTES: "bytes",
    FeatureNameStatistics.INT: "integers (INT)",
    FeatureNameStatistics.FLOAT: "numbers (FLOAT)",
    FeatureNameStatistics.STRUCT: "a structure",
}


@dataclass(frozen=True)
class Column:
    """A column: its part of the schema, and its statistics in one split.

    Attributes:
        schema: the whole schema.
        feature: the column's part; empty if the schema does not have the column.
        statistics: of the column in the split.
        examples: number of examples in the split.
    """

    schema: Schema
    feature: Feature
    statistics: FeatureNameStatistics | None
    examples: int | None

    @property
    def common(self) -> CommonStatistics | None:
        """The counts of examples and values, None without statistics."""
        if self.statistics is None:
            return None
        kind = self.statistics.WhichOneof("stats")
        if kind is None:
            return None
        counts: CommonStatistics = getattr(self.statistics, kind).common_stats
        return counts

    @property
    def values(self) -> int:
        """Number of values of this column in the split, over all examples."""
        return int(self.common.tot_num_values) if self.common else 0


Pair = tuple[str, str]  # the expected and the found values in words


def expected_and_found(reason: AnomalyInfo.Reason, column: Column) -> Pair:
    """Returns the expected and the found values in words; TFDV's own words for rare reasons."""
    kind = AnomalyInfo.Type.Name(reason.type)
    description = reason.description.strip()
    if kind.startswith("COMPARATOR_"):
        return "a distribution within the schema's drift or skew threshold", description
    describe = REASONS.get(kind)
    pair = describe(column) if describe else None
    return pair or ("what the schema says", description)


def _unexpected_text(column: Column) -> Pair | None:
    domain = _text_domain(column)
    if column.statistics is None or not domain:
        return None
    buckets = column.statistics.string_stats.rank_histogram.buckets
    unknown = [
        (bucket.label, bucket.sample_count) for bucket in buckets if bucket.label not in domain
    ]
    if not unknown:  # too rare to be in the statistics
        return None

    expected = f"one of {_list(map(repr, domain))}"
    mass = column.feature.distribution_constraints.min_domain_mass  # 1 by default
    if mass != 1:
        expected += f" in at least {100 * mass:g}% of the values"
    values = _list(f"{label!r} ({count:,.0f})" for label, count in unknown)
    share = describe_share(sum(count for _, count in unknown), column.values, "values")
    return expected, f"{values}: {share}"


def _text_domain(column: Column) -> list[str]:
    if column.feature.HasField("string_domain"):
        return list(column.feature.string_domain.value)
    return [
        value
        for domain in column.schema.string_domain
        if column.feature.HasField("domain") and domain.name == column.feature.domain
        for value in domain.value
    ]


def _wrong_type(column: Column) -> Pair | None:
    if column.statistics is None:
        return None
    expected = TYPES.get(column.feature.type, "a type that the schema names")
    return expected, f"{FOUND_TYPES[column.statistics.type]}, in {column.values:,} values"


def _out_of_range(column: Column) -> Pair | None:
    if column.statistics is None:
        return None
    low, high = _bounds(column.feature)
    numbers = column.statistics.num_stats
    found = f"{numbers.min:g} to {numbers.max:g}"
    outside = [_at_most_outside(item.buckets, low, high) for item in numbers.histograms]
    if most := min(outside, default=0.0):
        found += f", at most {describe_share(math.ceil(most), column.values, 'values')} outside"

    if math.isinf(high):
        return f"numbers of at least {low:g}", found
    if math.isinf(low):
        return f"numbers of at most {high:g}", found
    return f"numbers from {low:g} to {high:g}", found


def _bounds(feature: Feature) -> tuple[float, float]:
    domain = feature.int_domain if feature.HasField("int_domain") else feature.float_domain
    return (
        domain.min if domain.HasField("min") else -math.inf,
        domain.max if domain.HasField("max") else math.inf,
    )


def _at_most_outside(buckets: Iterable[Histogram.Bucket], low: float, high: float) -> float:
    """Returns an upper limit for the number of values out of bounds, by buckets that reach out."""
    outside = [bucket for bucket in buckets if bucket.low_value < low or bucket.high_value > high]
    return float(sum(bucket.sample_count for bucket in outside))


def _missing_column(column: Column) -> Pair:
    examples = f" (of {column.examples:,})" if column.examples else ""
    return "this column", f"no value of it in any example{examples}"


def _too_few_present(column: Column) -> Pair | None:
    if column.common is None or not column.examples:
        return None
    presence = column.feature.presence
    present = int(column.common.num_non_missing)
    if present < presence.min_fraction * column.examples:
        expected = f"a value in at least {presence.min_fraction:.4g} of the examples"
    else:
        expected = f"a value in at least {presence.min_count:,} examples"
    missing = describe_share(column.examples - present, column.examples, "examples")
    return expected, f"none in {missing}"


def _number_of_values(column: Column) -> Pair | None:
    if column.common is None:
        return None
    bounds = column.feature.value_count
    if column.feature.HasField("shape"):
        sizes = math.prod(dim.size for dim in column.feature.shape.dim)
        expected = f"{sizes} values in every example"
    else:
        highest = f"{bounds.max}" if bounds.HasField("max") else "any number of"
        expected = f"{bounds.min} to {highest} values in an example"
    return expected, f"{column.common.min_num_values} to {column.common.max_num_values}"


def _not_a_number(column: Column) -> Pair | None:
    if column.statistics is None:
        return None
    missing = max((item.num_nan for item in column.statistics.num_stats.histograms), default=0)
    return "no NaN", f"NaN in {describe_share(missing, column.values, 'values')}"


def _infinite(column: Column) -> Pair | None:
    if column.statistics is None:
        return None
    numbers = column.statistics.num_stats
    return "finite numbers", f"{numbers.min:g} to {numbers.max:g}"


def _new_column(column: Column) -> Pair:
    filled = f", in {int(column.common.num_non_missing):,} examples" if column.common else ""
    return "only columns that the schema has", f"a new one{filled}"


def _not_utf8(column: Column) -> Pair:
    values = f", among {column.values:,} values" if column.values else ""
    return "text in UTF-8", f"other bytes{values}"


def _too_few_examples(column: Column) -> Pair | None:
    if column.examples is None:
        return None
    least = column.schema.dataset_constraints.min_examples_count
    return f"at least {least:,} examples", f"{column.examples:,}"


def describe_share(part: float, whole: float, unit: str) -> str:
    """Returns a count, what it is out of, and the percentage in words."""
    percent = 100 * part / whole if whole else 0.0
    shown = "less than 0.01%" if 0 < percent < 0.01 else f"{percent:.3g}%"
    return f"{part:,.0f} of {whole:,.0f} {unit} ({shown})"


def _list(items: Iterable[str]) -> str:
    texts = list(items)
    more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


REASONS: dict[str, Callable[[Column], Pair | None]] = {
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": _unexpected_text,
    "UNEXPECTED_DATA_TYPE": _wrong_type,
    "FLOAT_TYPE_STRING_NOT_FLOAT": _wrong_type,
    "FLOAT_TYPE_SMALL_FLOAT": _out_of_range,
    "FLOAT_TYPE_BIG_FLOAT": _out_of_range,
    "INT_TYPE_SMALL_INT": _out_of_range,
    "INT_TYPE_BIG_INT": _out_of_range,
    "SCHEMA_MISSING_COLUMN": _missing_column,
    "FEATURE_TYPE_NOT_PRESENT": _missing_column,
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": _too_few_present,
    "FEATURE_TYPE_LOW_NUMBER_PRESENT": _too_few_present,
    "FEATURE_TYPE_LOW_NUMBER_VALUES": _number_of_values,
    "FEATURE_TYPE_HIGH_NUMBER_VALUES": _number_of_values,
    "INVALID_FEATURE_SHAPE": _number_of_values,
    "FLOAT_TYPE_HAS_NAN": _not_a_number,
    "FLOAT_TYPE_HAS_INF": _infinite,
    "SCHEMA_NEW_COLUMN": _new_column,
    "ENUM_TYPE_INVALID_UTF8": _not_utf8,
    "DATASET_LOW_NUM_EXAMPLES": _too_few_examples,
}
