"""The search space: a YAML file that names keys of the configuration, and values to try.

It is checked whole before anything runs: keys that may be tuned, and values that the configuration
accepts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from components.command.escape import for_error, shorten
from components.command.explain import LONGEST, as_sentence, explain_invalid
from components.command.suggest import did_you_mean
from components.config.load import load_config
from components.config.section import KeyedError, Section
from components.config.strict_yaml import YamlError, line_of, read_text, read_yaml
from components.errors import ConfigError

if TYPE_CHECKING:
    from components.config import Config

# Keys that only the fit reads: a trial needs no other examples, and its loss means the same.
TUNABLE = (
    "model.kind", "model.lstm", "model.transformer", "model.transformer.width",
    "model.transformer.heads", "model.transformer.layers", "model.pooling", "model.interaction",
    "model.dense", "model.dropout",
    "training.epochs", "training.batch_size", "training.learning_rate", "training.patience",
    "training.decay",
)  # fmt: skip
WHY_NOT = {
    "model.summaries": "Transform computes them, so other examples would be needed",
    "training.class_weights": "they weigh the eval loss too, so trials could not be compared",
    "training.seed": "the seed with the lowest loss is luck, not a setting",
}
DIGITS = 4  # significant digits of a number that was drawn: people read and copy it
DEFAULTS = Path(__file__).parent / "spaces"


class Choices(Section):
    """Some values, tried as they are."""

    choices: list[Any] = Field(description="the values", min_length=1)


class Range(Section):
    """Numbers between two ends, both of which may be tried."""

    low: int | float = Field(description="the lowest value")
    high: int | float = Field(description="the highest value")
    log: bool = Field(False, description="whether to draw from the logarithm")
    step: int | float | None = Field(None, gt=0, description="try only low + n * step")

    @model_validator(mode="after")
    def _ends_fit(self) -> Range:
        if not self.low < self.high:
            raise KeyedError("high", f"expected more than low ({self.low}), found {self.high}")
        if self.log and self.low <= 0:
            raise KeyedError("low", f"expected more than 0 with `log: true`, found {self.low}")
        if self.log and self.step is not None:
            raise KeyedError("step", "expected no step with `log: true`, found both")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are tried."""
        numbers = (self.low, self.high, 1 if self.step is None else self.step)
        return all(isinstance(number, int) for number in numbers)


@dataclass(frozen=True)
class Space:
    """What is tried: for each key of the configuration its values.

    Attributes:
        keys: choices or a range by dotted key, in the order of the file.
    """

    keys: Mapping[str, Choices | Range]

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Returns the space as plain values."""
        return {key: item.model_dump(exclude_defaults=True) for key, item in self.keys.items()}


def settings_of(values: Mapping[str, Any]) -> list[str]:
    """Returns values as overrides of `load_config`.

    >>> settings_of({"model.lstm": [64, 32], "training.learning_rate": 0.003})
    ['model.lstm=[64, 32]', 'training.learning_rate=0.003']
    """
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def rounded(value: float) -> float:
    """Returns a number with `DIGITS` significant digits.

    >>> rounded(0.00123456)
    0.001235
    """
    return float(f"{value:.{DIGITS}g}")


def load_space(path: Path | None, config: Path, overrides: Iterable[str]) -> Space:
    """Reads a search space and tries each of its values in the configuration.

    Args:
        path: the YAML file; None for the default of the configured kind of network.
        config: the configuration that is tuned.
        overrides: `key=value` options that it is loaded with.

    Raises:
        ConfigError: the file cannot be read, names a key that may not be tuned, or a value that the
            configuration refuses; the text names file, line and key.
    """
    overrides = [*overrides]
    loaded = load_config(config, overrides)
    file = DEFAULTS / f"{loaded.model.kind}.yaml" if path is None else path
    try:
        root, values = read_yaml(read_text(file))
    except YamlError as error:
        where = f"{file}, line {error.line}" if error.line else str(file)
        raise ConfigError(f"{where}: {error}.") from None
    if not isinstance(values, dict) or not values:
        example = "training.learning_rate: {low: 0.0003, high: 0.01, log: true}"
        raise ConfigError(f"{file}: expected a search space such as `{example}`, found none.")

    reader = _Reader(file, root, config, overrides, loaded)
    problems: list[str] = []
    keys = {}
    for key, item in values.items():
        try:
            keys[str(key)] = reader.read(str(key), item)
        except ConfigError as error:
            problems.append(str(error))
    problems += _overlaps(file, root, [*keys])
    if problems:
        raise ConfigError("\n".join(problems))
    return Space(keys)


@dataclass(frozen=True)
class _Reader:
    """Reads the keys of a space; `loaded` is the configuration without any of its values."""

    file: Path
    root: yaml.Node | None
    config: Path
    overrides: list[str]
    loaded: Config

    def read(self, key: str, item: object) -> Choices | Range:
        """Returns what is tried for a key.

        Raises:
            ConfigError: the key may not be tuned, or the configuration refuses a value.
        """
        if key not in TUNABLE:
            raise ConfigError(f"{self._at(key)}: {_why_not(key)}")
        if not isinstance(item, dict):
            found = shorten(for_error(item), LONGEST)
            expected = "expected {choices: [...]} or {low: ..., high: ...}"
            raise ConfigError(f"{self._at(key)}: {expected}, found {found}.")

        kind = Choices if "choices" in item else Range
        try:
            found_values = kind.model_validate(item)
        except ValidationError as error:
            raise ConfigError(self._explain(key, error)) from None
        if isinstance(found_values, Range):
            self._check_range(key, found_values)
            values: list[Any] = [found_values.low, found_values.high]
        else:
            values = found_values.choices
        for value in values:
            self._check(key, value)
        return found_values

    def _check(self, key: str, value: object) -> None:
        """Has the configuration refuse a value that does not fit."""
        setting = settings_of({key: value})
        try:
            load_config(self.config, [*self.overrides, *setting])
        except ConfigError as error:
            reason = str(error).removeprefix(f"--set {key}: ")
            shown = shorten(for_error(value), LONGEST)
            raise ConfigError(
                f"{self._at(key)}: the configuration refuses {shown}: {reason}"
            ) from None

    def _check_range(self, key: str, found: Range) -> None:
        """Raises a ConfigError unless the key holds numbers; whole ones need whole ends."""
        section, _, name = key.rpartition(".")
        holder: Any = self.loaded
        for part in section.split("."):
            holder = getattr(holder, part)
        current = getattr(holder, name)
        if isinstance(current, bool) or not isinstance(current, int | float):
            raise ConfigError(
                f"{self._at(key)}: expected {{choices: [...]}}, since this key holds no number; "
                "found a range."
            )
        if isinstance(current, int) and not found.is_whole:
            raise ConfigError(
                f"{self._at(key)}: expected whole numbers as low, high and step, found "
                f"{found.low} and {found.high}."
            )

    def _explain(self, key: str, error: ValidationError) -> str:
        """Returns the first problem of a key's mapping."""
        problem = error.errors(include_url=False)[0]
        inner = [str(part) for part in problem["loc"] if isinstance(part, str)][:1]
        cause = problem.get("ctx", {}).get("error")
        reason = explain_invalid(problem)
        if isinstance(cause, KeyedError):
            inner, reason = cause.keys, cause.reason
        return as_sentence(f"{self._at(key, *inner)}: {reason}")

    def _at(self, key: str, *inner: str) -> str:
        line = line_of(self.root, [key, *inner])
        name = ", ".join([key, *inner])
        return f"{self.file}, line {line}, {name}" if line else f"{self.file}, {name}"


def _why_not(key: str) -> str:
    """Returns why a key may not be tuned."""
    if key in WHY_NOT:
        return f"this key is not tuned: {WHY_NOT[key]}."
    known = ", ".join(TUNABLE)
    hint = did_you_mean(key, TUNABLE) or "."
    return f"expected a key that only the fit reads, one of {known}; found {key}{hint}"


def _overlaps(file: Path, root: yaml.Node | None, keys: list[str]) -> list[str]:
    """Returns a problem for each key whose section is another key."""
    return [
        f"{file}, line {line_of(root, [key])}, {key}: expected either {other} or keys in it, "
        "found both."
        for key in keys
        for other in keys
        if key.startswith(f"{other}.")
    ]


def contains(space: Space, values: Mapping[str, Any]) -> bool:
    """Returns whether a value of each key is one that the space may try."""
    for key, item in space.keys.items():
        value = values[key]
        if isinstance(item, Choices):
            if value not in item.choices:
                return False
        elif not item.low <= value <= item.high:
            return False
        elif item.step is not None:
            steps = (value - item.low) / item.step
            if not math.isclose(steps, round(steps), abs_tol=1e-9):
                return False
    return True


def values_of(config: Config, space: Space) -> dict[str, Any]:
    """Returns what a configuration holds for each key of a space, as plain values."""
    dumped = config.model_dump(mode="json", by_alias=True)
    found = {}
    for key in space.keys:
        value: Any = dumped
        for part in key.split("."):
            value = value[part]
        found[key] = value
    return found
