"""The custom properties of Examples: which data they were read from, for later nodes and runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer

if TYPE_CHECKING:
    from tfx.types.artifact import Artifact

# The first three are TFX's own names; its `span` has room for one number only.
FINGERPRINT = "input_fingerprint"
SPAN = "span"
VERSION = "version"
SPANS = "spans"
REPLAYED = "replayed_spans"
REPLAY = "replay"


class DataProvenance(BaseModel):
    """The data of a run.

    >>> data = DataProvenance(span=20777, spans=["2026-11-20"], version=1)
    >>> data.describe()
    '2026-11-20, version 1'
    >>> DataProvenance.of(data.to_properties()) == data
    True
    >>> DataProvenance(spans=["3", "4"], replayed=["1", "2"], replay=0.2).describe()
    '3 to 4 (2 spans); of 1 to 2 (2 spans) 20% of the learners once more, to train on'

    Attributes:
        fingerprint: digest of the contents of all files.
        span: TFX's number of the newest span that was read; 0 for a log without spans.
        spans: names of the spans, oldest first.
        version: version of the spans; None for a log without versions.
        replayed: names of the older spans of which some learners were trained on once more, oldest
            first.
        replay: the share of their learners that was drawn; None without such spans.
    """

    fingerprint: str | None = None
    span: int | None = None
    spans: list[str] = []
    version: int | None = None
    replayed: list[str] = []
    replay: float | None = None

    @model_serializer(mode="wrap")
    def _leave_out_what_was_not_replayed(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        if not self.replayed:
            values.pop("replayed", None)
            values.pop("replay", None)
        return values

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> DataProvenance:
        """Returns the provenance in custom properties; the reverse of `to_properties`."""
        return cls(
            fingerprint=properties.get(FINGERPRINT),
            span=properties.get(SPAN),
            spans=_names(properties.get(SPANS)),
            version=properties.get(VERSION),
            replayed=_names(properties.get(REPLAYED)),
            replay=properties.get(REPLAY),
        )

    def to_properties(self) -> dict[str, Any]:
        """Returns the custom properties, None for those that are not set."""
        return {
            FINGERPRINT: self.fingerprint,
            SPAN: self.span,
            SPANS: ",".join(self.spans),
            VERSION: self.version,
            REPLAYED: ",".join(self.replayed) or None,
            REPLAY: self.replay,
        }

    def describe(self) -> str:
        """Returns the spans and their version in a few words, empty for a log without spans."""
        # Imported here, because promoting a version reads manifests and needs no configuration.
        from components.config.spans import describe_spans

        version = "" if self.version is None else f", version {self.version}"
        again = ""
        if self.replayed and self.replay is not None:
            older = describe_spans(self.replayed)
            share = f"{self.replay * 100:.4g}%"
            again = f"; of {older} {share} of the learners once more, to train on"
        return f"{describe_spans(self.spans)}{version}{again}" if self.spans else ""


def _names(text: object) -> list[str]:
    return str(text).split(",") if text else []


def describe_data(examples: Artifact) -> DataProvenance:
    """Returns the provenance of examples."""
    held = examples.mlmd_artifact.custom_properties
    return DataProvenance.of(
        {name: getattr(value, value.WhichOneof("value")) for name, value in held.items()}
    )
