"""The custom properties of Examples: which data they were read from, for later nodes and runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from tfx.types.artifact import Artifact

# The first three are TFX's own names; its `span` has room for one number only.
FINGERPRINT = "input_fingerprint"
SPAN = "span"
VERSION = "version"
SPANS = "spans"


class DataProvenance(BaseModel):
    """The data of a run.

    >>> data = DataProvenance(span=20777, spans=["2026-11-20"], version=1)
    >>> data.describe()
    '2026-11-20, version 1'
    >>> DataProvenance.of(data.to_properties()) == data
    True

    Attributes:
        fingerprint: digest of the contents of all files.
        span: TFX's number of the newest span that was read; 0 for a log without spans.
        spans: names of the spans, oldest first.
        version: version of the spans; None for a log without versions.
    """

    fingerprint: str | None = None
    span: int | None = None
    spans: list[str] = []
    version: int | None = None

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> DataProvenance:
        """Returns the provenance in custom properties; the reverse of `to_properties`."""
        return cls(
            fingerprint=properties.get(FINGERPRINT),
            span=properties.get(SPAN),
            spans=str(properties[SPANS]).split(",") if properties.get(SPANS) else [],
            version=properties.get(VERSION),
        )

    def to_properties(self) -> dict[str, Any]:
        """Returns the custom properties, None for those that are not set."""
        return {
            FINGERPRINT: self.fingerprint,
            SPAN: self.span,
            SPANS: ",".join(self.spans),
            VERSION: self.version,
        }

    def describe(self) -> str:
        """Returns the spans and their version in a few words, empty for a log without spans."""
        # Imported here, because promoting a version reads manifests and needs no configuration.
        from components.config.spans import describe_spans

        version = "" if self.version is None else f", version {self.version}"
        return f"{describe_spans(self.spans)}{version}" if self.spans else ""


def describe_data(examples: Artifact) -> DataProvenance:
    """Returns the provenance of examples."""
    held = examples.mlmd_artifact.custom_properties
    return DataProvenance.of(
        {name: getattr(value, value.WhichOneof("value")) for name, value in held.items()}
    )
