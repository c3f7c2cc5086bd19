"""The formats of platforms: a YAML file each in `mappings`, which says what its records mean."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from components.config.mapping import EventMapping

PLATFORMS = ("moodle", "open_edx", "xapi", "caliper")
STANDARD = "standard"  # events as this project writes them
FORMATS = (STANDARD, *PLATFORMS)


@cache
def mapping_of(name: str) -> EventMapping:
    """Returns the mapping that comes with a format; that of the standard format is empty."""
    from components.config.mapping import EventMapping  # which imports this module

    if name == STANDARD:
        return EventMapping(title="a table of events")
    path = Path(__file__).parent / "mappings" / f"{name}.yaml"
    return EventMapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
