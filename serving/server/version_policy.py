"""Which versions are to be served, and under which labels: TensorFlow Serving's `ModelServerConfig`."""

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
    """The `ModelServerConfig` cannot be used."""


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions that are there are served.

    Attributes:
        latest: that many of the newest; None for all of them.
        specific: these and no others, whatever `latest` says; none for no such choice.
        labels: version by label.
    """

    latest: int | None = 1
    specific: tuple[int, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)

    def choose(self, present: Iterable[int]) -> list[int]:
        """Returns those of the versions present that are to be served, oldest first."""
        versions = sorted(present)
        if self.specific:
            asked_for = set(self.specific)
            return [version for version in versions if version in asked_for]
        return versions if self.latest is None else versions[-self.latest :]


def read_policy(folder: Path, name: str) -> VersionPolicy:
    """Reads `models.config` in the folder of versions; where there is none, the newest version is served.

    Raises:
        ModelConfigError: it is no ModelServerConfig, or has no model of this name.
    """
    path = folder / MODELS_CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return VersionPolicy()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelConfigError(f"{path}: expected a text to read, found {error}.") from error
    try:
        config = text_format.Parse(text, ModelServerConfig())
    except text_format.ParseError as error:
        raise ModelConfigError(
            f"{path}: expected a ModelServerConfig as text, found {error}."
        ) from error
    for model in config.model_config_list.config:
        if model.name == name:
            return policy_of(model)
    names = listed([model.name for model in config.model_config_list.config])
    raise ModelConfigError(
        f"{path}: expected a model called {name}, found {names}; say which with --name."
    )


def policy_of(model: ModelConfig) -> VersionPolicy:
    """Reads the policy of one model.

    Raises:
        ModelConfigError: it asks for no version at all.
    """
    labels = dict(model.version_labels)
    policy = model.model_version_policy
    if policy.HasField("specific"):
        if not policy.specific.versions:
            raise ModelConfigError(
                f"model {model.name}: expected one or more specific versions, found none."
            )
        return VersionPolicy(specific=tuple(policy.specific.versions), labels=labels)
    if policy.HasField("all"):
        return VersionPolicy(latest=None, labels=labels)
    return VersionPolicy(latest=max(1, policy.latest.num_versions), labels=labels)
