"""The parameters of a run: one table, and how their values are read and checked.

A person fills them in when starting a run, in Kubeflow's user interface or with `--param`. A
container turns those that override a key of the configuration into `--set`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Literal

import yaml

from components.command.suggest import did_you_mean
from components.config import Config, load_config
from components.errors import ConfigError, MasteryError

Value = str | bool


@dataclass(frozen=True)
class Parameter:
    """One parameter of the pipeline.

    Attributes:
        name: the name in Kubeflow and for `--param`.
        type: the type of its value.
        description: the text beside it in Kubeflow's user interface.
        overrides: the key of the configuration that it overrides; None: it overrides none.
        written_as: whether a text is used as it is, or read as YAML.
    """

    name: str
    type: type[str] | type[bool]
    description: str
    overrides: str | None = None
    written_as: Literal["text", "yaml"] = "text"

    def default(self, config: Config) -> Value:
        """Returns the value if none is given: an empty text, or for flags what `config` says."""
        if self.type is str:
            return ""
        return bool(attrgetter(self.overrides)(config)) if self.overrides else False

    def read(self, text: str) -> Value:
        """Returns the value that `text` stands for.

        Raises:
            MasteryError: the parameter is a flag, and `text` is neither `true` nor `false`.
        """
        if self.type is str:
            return text
        if text not in ("true", "false"):
            raise MasteryError(f"--param {self.name}: expected true or false, found {text!r}.")
        return text == "true"

    def setting(self, value: Value) -> str | None:
        """Returns `key=value` for `--set`, None if the value changes nothing."""
        if self.overrides is None or value == "":
            return None
        if isinstance(value, bool):
            return f"{self.overrides}={str(value).lower()}"
        return f"{self.overrides}={value if self.written_as == 'yaml' else _quoted(value)}"


ONLY_NEW_DATA = "only_new_data"
PARAMETERS = (
    Parameter(
        "events",
        str,
        "Path or pattern of the events in the containers; empty: as configured.",
        overrides="data.events",
    ),
    Parameter(
        "outcomes",
        str,
        "Path or pattern of the outcomes in the containers; empty: as configured.",
        overrides="data.outcomes",
    ),
    Parameter(
        "span",
        str,
        "newest, a date or number, or last:7 for the last seven; empty: as configured.",
        overrides="data.span",
    ),
    Parameter(
        "gates",
        str,
        "Gates as a YAML list, e.g. [{metric: f1_macro, min: 0.9}]; empty: as configured.",
        overrides="gates",
        written_as="yaml",
    ),
    Parameter(
        "warm_start",
        bool,
        "Whether training starts from the latest blessed model.",
        overrides="training.warm_start",
    ),
    Parameter(
        "push",
        bool,
        "Whether a model that passed its gates is pushed.",
        overrides="push.enabled",
    ),
    Parameter(
        ONLY_NEW_DATA,
        bool,
        "Whether a run that would only repeat the run before it ends early.",
    ),
)
_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def settings_of(values: Mapping[str, Value]) -> list[str]:
    """Returns `key=value` for every parameter that overrides the configuration.

    Args:
        values: by name, as Kubeflow passes them to a container.
    """
    settings = (
        parameter.setting(values[parameter.name])
        for parameter in PARAMETERS
        if parameter.name in values
    )
    return [setting for setting in settings if setting is not None]


def read_parameters(given: Iterable[str]) -> dict[str, Value]:
    """Returns the values of `name=value` texts, with the types that the pipeline declares.

    Kubeflow accepts a value of the wrong type and lets the run fail much later, so it is refused
    here.

    Raises:
        MasteryError: a text is not `name=value`, or names no parameter, or its value has another
            type.
    """
    return dict(_read(text) for text in given)


def _read(text: str) -> tuple[str, Value]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise MasteryError(f"--param {text}: expected name=value.")

    parameter = _BY_NAME.get(name)
    if parameter is None:
        raise MasteryError(
            f"--param {text}: expected one of {', '.join(sorted(_BY_NAME))}, "
            f"found {name!r}{did_you_mean(name, _BY_NAME) or '.'}"
        )
    return name, parameter.read(value)


def check_parameters(
    config_file: Path, settings: Sequence[str], values: Mapping[str, Value]
) -> None:
    """Checks the parameters of a run against the whole configuration, as the containers will.

    Args:
        config_file: the configuration.
        settings: `key=value` of `--set`.
        values: of the pipeline's parameters, by name; those left out stay as configured.

    Raises:
        MasteryError: a value does not fit; the text names its parameter.
    """
    try:
        load_config(config_file, [*settings, *settings_of(values)])
    except ConfigError as error:
        raise MasteryError(_name_parameters(str(error))) from None


def _name_parameters(text: str) -> str:
    """Names the parameter where an error names the `--set` that it was turned into."""
    for parameter in PARAMETERS:
        if parameter.overrides:
            setting = rf"--set {re.escape(parameter.overrides)}(?=[,:])"
            text = re.sub(setting, f"--param {parameter.name}", text)
    return text


def _quoted(text: str) -> str:
    """Returns YAML for a text, whatever characters it has: those beyond ASCII are escaped.

    JSON will not do: it writes an emoji as two halves, which YAML does not join again.
    """
    return yaml.dump(text, default_style='"', width=2**31).rstrip("\n")
