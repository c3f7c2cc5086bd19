"""The parameters that a person fills in when starting a run in Kubeflow's user interface, as settings of `--set`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.config import load_config
from components.errors import ConfigError, MasteryError

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
            settings.append(f"{key}={_quoted(value) if name in _AS_TEXT else value}")
    return settings


def check_parameters(
    config_file: Path, settings: Sequence[str], parameters: Mapping[str, Any]
) -> None:
    """Holds parameters of a run against the whole configuration, as the containers will.

    Args:
        config_file: the configuration.
        settings: `key=value` of `--set`.
        parameters: values of the pipeline's parameters; those left out stay as configured.

    Raises:
        MasteryError: a parameter does not fit; the text names it.
    """
    try:
        load_config(config_file, [*settings, *settings_of(parameters)])
    except ConfigError as error:
        text = str(error)
        for name, key in _KEYS.items():
            text = re.sub(rf"--set {re.escape(key)}(?=[,:])", f"--param {name}", text)
        raise MasteryError(text) from None


def _quoted(text: str) -> str:
    """Returns YAML that stands for a text, whatever characters it has: those beyond ASCII are escaped.

    JSON's escapes will not do: it writes an emoji as two halves, which YAML does not put together again.
    """
    return yaml.dump(text, default_style='"', width=2**31).rstrip("\n")
