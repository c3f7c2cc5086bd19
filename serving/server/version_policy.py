"""Which versions are served, and under which labels: TensorFlow Serving's `ModelServerConfig`.

And which must not be, because somebody has stopped them: `routing.json`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from components.command.escape import shorten
from components.contracts.contract import ContractError
from components.contracts.names import GPU
from components.contracts.serving_state import Routing, Stop
from components.errors import MasteryError
from serving.models.server_config import MODELS_CONFIG
from serving.server.request_error import QUOTED, listed

if TYPE_CHECKING:
    from components.model_version.folders import VersionFolders


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


def list_missing(folder: Path, found: VersionFolders, policy: VersionPolicy) -> list[str]:
    """Returns sentences on skipped folders, and on versions and labels that do not exist."""
    notes = [f"{folder / name}: skipped, because {why}." for name, why in found.passed_over.items()]
    notes += [
        f"{folder}: version {version} is configured but does not exist."
        for version in sorted(set(policy.specific) - found.paths.keys())
    ]
    notes += [
        f"{folder}: label {shorten(label, QUOTED)} is configured for version {version}, "
        "which does not exist."
        for label, version in sorted(policy.labels.items())
        if version not in found.paths
    ]
    return notes


@dataclass(frozen=True)
class Stops:
    """What people have taken out of service; see `serving.models.stopping`.

    Attributes:
        model: the model's name.
        whole: the stop that keeps every version from answering, or None.
        single: the others, each of one version.
    """

    model: str = ""
    whole: Stop | None = None
    single: tuple[Stop, ...] = ()

    def reason(self, version: int | None, label: str | None = None) -> str | None:
        """Returns why a version, or that of a label, must not answer; None if it may."""
        found = self.whole or next(
            (
                stop
                for stop in self.single
                if (version is not None and stop.version == version)
                or (label and stop.label == label)
            ),
            None,
        )
        return None if found is None else f"{found.describe(self.model)}."


def stops_of(routing: Routing) -> Stops:
    """Returns what a `routing.json` says is out of service."""
    return Stops(routing.model, routing.out_of_service, tuple(routing.stopped))


def read_routing(folder: Path) -> Routing | None:
    """Reads `routing.json`, beside the versions; None if it cannot be.

    Args:
        folder: that of the versions. `gpu` holds links to versions in the folder above it.
    """
    beside = folder.parent if folder.name == GPU else folder
    try:
        return Routing.from_json((beside / Routing.FILE).read_bytes())
    except FileNotFoundError:
        return Routing(revision=0, time="", model="")
    except (OSError, ContractError):
        return None


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
