"""Which versions are served, and under which labels: TensorFlow Serving's `ModelServerConfig`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from components.errors import MasteryError
from serving.models.server_config import MODELS_CONFIG
from serving.server.request_error import listed


class ModelConfigError(MasteryError):
    """A `ModelServerConfig` cannot be used."""


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions in a folder are served.

    Attributes:
        latest: number of newest versions; None for all.
        specific: exactly these versions, whatever `latest` says; empty for no such choice.
        labels: version by label.

    >>> VersionPolicy(latest=2).choose([3, 1, 2])
    [2, 3]
    """

    latest: int | None = 1
    specific: tuple[int, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)

    def choose(self, present: Iterable[int]) -> list[int]:
        """Returns the versions to serve among those present, oldest first."""
        versions = sorted(present)
        if self.specific:
            requested = set(self.specific)
            return [version for version in versions if version in requested]
        return versions if self.latest is None else versions[-self.latest :]


def read_policy(folder: Path, name: str) -> VersionPolicy:
    """Reads `models.config` in the folder of versions; without one, the newest version is served.

    Raises:
        ModelConfigError: it is not a ModelServerConfig, or has no model of this name.
    """
    path = folder / MODELS_CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return VersionPolicy()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelConfigError(f"{path} could not be read: {error}.") from error

    try:
        config = text_format.Parse(text, ModelServerConfig())
    except text_format.ParseError as error:
        raise ModelConfigError(
            f"{path}: expected a ModelServerConfig in text format, found {error}."
        ) from error

    models = config.model_config_list.config
    for model in models:
        if model.name == name:
            return policy_of(model)
    names = listed([model.name for model in models])
    raise ModelConfigError(
        f"{path}: expected a model called {name}, found {names}; choose one with --name."
    )


def policy_of(model: ModelConfig) -> VersionPolicy:
    """Returns the policy of one model.

    Raises:
        ModelConfigError: it asks for no version at all.
    """
    labels = dict(model.version_labels)
    policy = model.model_version_policy
    if policy.HasField("all"):
        return VersionPolicy(latest=None, labels=labels)
    if not policy.HasField("specific"):
        return VersionPolicy(latest=max(1, policy.latest.num_versions), labels=labels)

    if not policy.specific.versions:
        raise ModelConfigError(
            f"model {model.name}: expected one or more specific versions, found none."
        )
    return VersionPolicy(specific=tuple(policy.specific.versions), labels=labels)
