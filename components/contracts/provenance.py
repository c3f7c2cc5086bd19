"""Where examples came from: the custom properties that the driver puts on them, for the nodes after it and the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from tfx.types.artifact import Artifact

# Custom properties of Examples. The first three are TFX's own; its `span` has room for one number only.
FINGERPRINT = "input_fingerprint"
SPAN = "span"
VERSION = "version"
SPANS = "spans"


class DataProvenance(BaseModel):
    """What a run was given.

    Attributes:
        fingerprint: of the contents of all files.
        span: TFX's number of the newest span that was read; 0 for a log without spans.
        spans: what people call the spans, oldest first.
        version: of the spans; None for a log without.
    """

    fingerprint: str | None = None
    span: int | None = None
    spans: list[str] = []
    version: int | None = None

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> DataProvenance:
        """Returns what custom properties say; what ExampleGen left unsaid is left out."""
        return cls(
            fingerprint=properties.get(FINGERPRINT),
            span=properties.get(SPAN),
            spans=str(properties[SPANS]).split(",") if properties.get(SPANS) else [],
            version=properties.get(VERSION),
        )

    def describe(self) -> str:
        """Returns the spans and their version in a few words, nothing for a log without spans."""
        # Promoting a version reads manifests, and needs no configuration.
        from components.config.data import describe_spans

        version = "" if self.version is None else f", version {self.version}"
        return f"{describe_spans(self.spans)}{version}" if self.spans else ""


def join_names(spans: Iterable[str]) -> str:
    """Returns the names of spans as one custom property holds them."""
    return ",".join(spans)


def describe_data(examples: Artifact) -> DataProvenance:
    """Returns where examples came from."""
    held = examples.mlmd_artifact.custom_properties
    return DataProvenance.of(
        {name: getattr(value, value.WhichOneof("value")) for name, value in held.items()}
    )
