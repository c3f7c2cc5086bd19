"""How far the schema lets each column move: the thresholds of TFDV's comparators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

# What `mastery schema infer` writes. Both are about as strict: where there are two values, ten
# points of their share are .01 bits. Of a normal distribution, that is a quarter of its standard
# deviation.
INFINITY_NORM = 0.1
JENSEN_SHANNON = 0.01

Which = Literal["drift", "skew"]


class Threshold(NamedTuple):
    """What a column may move; None where its schema says nothing.

    Attributes:
        infinity_norm: the largest difference of a share.
        jensen_shannon: the divergence, in bits.
    """

    infinity_norm: float | None = None
    jensen_shannon: float | None = None


def thresholds_of(schema: schema_pb2.Schema, which: Which = "drift") -> dict[str, Threshold]:
    """Returns the thresholds of each column that has some.

    Args:
        schema: the curated one.
        which: `drift_comparator`, or `skew_comparator` for served traffic.
    """
    found = {}
    for feature in schema.feature:
        if not feature.HasField(f"{which}_comparator"):
            continue
        comparator = getattr(feature, f"{which}_comparator")
        norm, divergence = comparator.infinity_norm, comparator.jensen_shannon_divergence
        found[feature.name] = Threshold(
            norm.threshold if comparator.HasField("infinity_norm") else None,
            divergence.threshold if comparator.HasField("jensen_shannon_divergence") else None,
        )
    return found
