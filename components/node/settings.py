"""The part of the configuration that a node reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from components.config.section import Section

if TYPE_CHECKING:
    from components.config.root import Config


class NodeSettings(Section):
    """The sections of the configuration that a node reads; a change of others does not rerun it.

    A node declares the sections as fields. They reach its executor as one property:

    ```python
    class LabelSettings(NodeSettings):
        label: Label

    settings = LabelSettings.of(config)
    assert LabelSettings.from_property(settings.to_property()) == settings
    ```
    """

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the node's part of `config`."""
        return cls.from_property(config.section_json(*cls.model_fields))

    @classmethod
    def from_property(cls, text: str) -> Self:
        """Returns what `to_property` wrote."""
        return cls.model_validate_json(text)

    def to_property(self) -> str:
        """Returns canonical JSON: the same text for the same settings, as a cache key needs it."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)
