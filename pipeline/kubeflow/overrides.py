"""The parameters that a person fills in when starting a run in Kubeflow's user interface, as settings of `--set`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Of each parameter, the value it overrides; texts do so unless they are empty.
_KEYS = {
    "events": "data.events",
    "outcomes": "data.outcomes",
    "span": "data.span",
    "gates": "gates",
    "warm_start": "training.warm_start",
    "push": "push.enabled",
}
_AS_TEXT = ("events", "outcomes", "span")  # the rest is YAML


def settings_of(parameters: Mapping[str, Any]) -> list[str]:
    """Returns `key=value` for every parameter that overrides the configuration.

    Args:
        parameters: as Kubeflow hands them over: texts, empty for "as configured", and booleans.
    """
    settings = []
    for name, key in _KEYS.items():
        value = parameters.get(name, "")
        if isinstance(value, bool):
            settings.append(f"{key}={str(value).lower()}")
        elif value:
            settings.append(f"{key}={json.dumps(value) if name in _AS_TEXT else value}")
    return settings
