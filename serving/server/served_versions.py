"""Versions of one model: loaded as they appear, and let go when nobody is using them any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from grpc import StatusCode
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus

from components.errors import MasteryError
from components.model_version.folders import VersionFolders, find_versions
from components.model_version.verify import verify_version
from serving.server.request_error import RequestError, invalid, listed
from serving.server.servable import LoadedModel, Servable, load_warm
from serving.server.server_settings import ServerSettings
from serving.server.telemetry import ServerMetrics
from serving.server.version_policy import ModelConfigError, VersionPolicy, read_policy

log = logging.getLogger("mastery.serving")


RETRY_SECONDS = 30.0  # until a version that could not be loaded is tried again


MOST_NOTES = 20  # lines on what is missing that one look at the folder may write into the log


class ServedVersions:
    """The versions of one model; belongs to one event loop.

    A new version is loaded, and has answered its warm-up requests, before an old one goes; if it cannot be loaded,
    the old one stays.

    Attributes:
        status: of each version there has been, newest last.
        on_change: is called after each look at the folder, when what there is to load has been loaded.
    """

    def __init__(
        self, settings: ServerSettings, executor: Executor, metrics: ServerMetrics
    ) -> None:
        self._settings, self._executor, self._metrics = settings, executor, metrics
        self._servables: dict[int, Servable] = {}
        self._policy = VersionPolicy()
        self._labels: dict[str, int] = {}  # those whose versions answer
        self._file_policy: VersionPolicy | str | None = (
            None  # what models.config said last, or what was wrong with it
        )
        self._retry_at: dict[int, float] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._polling = asyncio.Lock()
        self._folders = VersionFolders({}, {})
        self._said: set[str] = set()  # what the log has said of the folder, and what is still so
        self.status: dict[int, VersionStatus] = {}
        self.on_change: Callable[[], Awaitable[None]] | None = None

    @property
    def available(self) -> list[int]:
        """Versions that answer, oldest first."""
        return sorted(self._servables)

    @contextmanager
    def lease(self, version: int | None, label: str | None) -> Iterator[Servable]:
        """Holds a version for the length of the block; neither number nor label means the newest.

        Raises:
            RequestError: there is no such version, or none at all.
        """
        servable = self._find(version, label)
        servable.leases += 1
        try:
            yield servable
        finally:
            servable.leases -= 1

    def resolve(self, version: int | None, label: str | None) -> int | None:
        """Returns the version that a label stands for, or the version as it is.

        Raises:
            RequestError: there is no such label.
        """
        if not label:
            return version
        if label in self._labels:
            return self._labels[label]
        version_of_label = self._policy.labels.get(label)
        if version_of_label is not None:
            why = f"it stands for version {version_of_label}, which does not answer: {self._why(version_of_label)}"
        else:
            why = f"the labels are: {listed(sorted(self._labels))}"
        raise invalid(f"Unrecognized servable version label: {label[:200]}; {why}.")

    async def poll(self) -> None:
        """Looks at the folder once; loads and lets go what has changed."""
        async with self._polling:
            self._read_policy()
            try:
                self._folders = find_versions(self._settings.models)
            except OSError as error:
                log.warning(
                    "%s: expected a folder that can be read, found: %s",
                    self._settings.models,
                    error.strerror,
                )
                return
            await self._follow()

    async def apply(self, policy: VersionPolicy) -> None:
        """Follows another policy, until `models.config` changes, and returns when its versions answer.

        Raises:
            RequestError: a version or a label's version is not there or cannot be loaded; the policy stays as it was.
        """
        async with self._polling:
            self._folders = find_versions(self._settings.models)
            chosen = policy.choose(self._folders.paths)
            asked_for = {*policy.specific, *policy.labels.values()}
            self._retry_at.clear()
            await self._load([version for version in chosen if version in asked_for])
            missing = sorted(asked_for - (set(chosen) & self._servables.keys()))
            if not missing:
                self._policy = policy
            await self._follow()
            if missing:
                reasons = listed(
                    [f"{version}: {self._why(version)}" for version in missing], separator="; "
                )
                raise RequestError(
                    StatusCode.FAILED_PRECONDITION, f"versions that cannot be served: {reasons}."
                )

    async def watch(self) -> None:
        """Polls for ever."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            await self.poll()

    async def close(self) -> None:
        """Lets all versions go, when they have answered."""
        for version in list(self._servables):
            self._let_go(version)
        if self._closing:
            await asyncio.wait(self._closing)

    def _find(self, version: int | None, label: str | None) -> Servable:
        number = self.resolve(version, label)
        if number is None:
            number = max(self._servables, default=None)
        if number not in self._servables:
            what = "Latest" if number is None else f"Specific version {number}"
            why = f"; {self._why(number)}" if number in self._policy.specific else ""
            raise RequestError(
                StatusCode.NOT_FOUND,
                f"Servable not found for request: {what} of {self._settings.name}{why}.",
            )
        return self._servables[number]

    def _read_policy(self) -> None:
        found: VersionPolicy | str
        try:
            found = read_policy(self._settings.models, self._settings.name)
        except ModelConfigError as error:
            found = str(error)
        if found != self._file_policy:
            self._file_policy = found
            if isinstance(found, VersionPolicy):
                self._policy = found
            else:
                log.warning("%s The versions stay as they are.", found)

    async def _follow(self) -> None:
        wanted = self._policy.choose(self._folders.paths)
        self._say_what_is_missing()
        await self._load(wanted)
        if not self._servables and not self._policy.specific:
            await self._load_any()
        served = {version for version in wanted if version in self._servables}
        labels = {
            label: self._answering(label, version) for label, version in self._policy.labels.items()
        }
        self._labels = {label: version for label, version in labels.items() if version is not None}
        if served:  # otherwise what answers stays, wanted or not
            for version in sorted(self._servables.keys() - served - set(self._labels.values())):
                self._let_go(version)
        self._metrics.versions_available = self.available
        if self.on_change is not None:
            await self.on_change()

    def _say_what_is_missing(self) -> None:
        """Logs what is passed over and which versions and labels are missing; once, for as long as it stays so."""
        folder, policy = self._settings.models, self._policy
        notes = [
            f"{folder / name}: passed over, because {why}."
            for name, why in self._folders.passed_over.items()
        ]
        notes += [
            f"{folder}: version {version} is asked for, and there is no such version."
            for version in sorted(set(policy.specific) - self._folders.paths.keys())
        ]
        notes += [
            f"{folder}: label {label[:200]} stands for version {version}, and there is no such version."
            for label, version in sorted(policy.labels.items())
            if version not in self._folders.paths
        ]
        new = [note for note in notes if note not in self._said]
        for note in new[:MOST_NOTES]:
            log.warning("%s", note)
        if len(new) > MOST_NOTES:
            log.warning("%s: and %d more of the kind.", folder, len(new) - MOST_NOTES)
        self._said = set(notes)

    def _answering(self, label: str, version: int) -> int | None:
        """Returns the version that a label is to stand for, or, until that answers, the one it stood for."""
        if version in self._servables:
            return version
        before = self._labels.get(label)
        return before if before in self._servables else None

    async def _load(self, wanted: list[int]) -> None:
        for version in wanted:
            if version not in self._servables and time.monotonic() >= self._retry_at.get(
                version, 0.0
            ):
                await self._load_one(version)

    async def _load_any(self) -> None:
        """Where the newest cannot be loaded and nothing answers yet: an older one is better than none."""
        for version in reversed(self._folders.paths):
            await self._load([version])
            if self._servables:
                return

    async def _load_one(self, version: int) -> None:
        path = self._folders.paths[version]
        self.status[version] = VersionStatus(VersionState.LOADING)
        started = time.perf_counter()
        try:
            model = await asyncio.to_thread(self._load_verified, path)
        except (
            Exception
        ) as error:  # TensorFlow raises many kinds; whatever it is, the others go on answering
            known = isinstance(error, MasteryError)
            reason = (str(error) if known else f"{type(error).__name__}: {error}")[:2000]
            log.error("%s: expected a version that can be served, found: %s", path, reason)
            code = StatusCode.FAILED_PRECONDITION if known else StatusCode.UNKNOWN
            self.status[version] = VersionStatus(VersionState.END, code, reason)
            self._retry_at[version] = time.monotonic() + RETRY_SECONDS
            self._metrics.load(str(path), time.perf_counter() - started, succeeded=False)
            return
        seconds = time.perf_counter() - started
        self._metrics.load(str(path), seconds, succeeded=True)
        self._servables[version] = Servable(
            version, model, self._settings, self._executor, self._metrics
        )
        self.status[version] = VersionStatus(VersionState.AVAILABLE)
        self._metrics.versions_available = self.available
        log.info(
            "Version %d of %s answers, after %.1f s of loading.",
            version,
            self._settings.name,
            seconds,
        )

    def _load_verified(self, path: Path) -> LoadedModel:
        settings = self._settings
        doubt = verify_version(
            path, within=settings.models, require_manifest=settings.require_manifest
        )
        if doubt:
            log.warning("%s", doubt)
        return load_warm(path, allowed_operations=settings.allowed_operations)

    def _let_go(self, version: int) -> None:
        servable = self._servables.pop(version)  # from here on, no request finds it
        self.status[version] = VersionStatus(VersionState.UNLOADING)
        task = asyncio.get_running_loop().create_task(self._close(servable))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, servable: Servable) -> None:
        await servable.close()
        if self.status[servable.version].state is VersionState.UNLOADING:
            self.status[servable.version] = VersionStatus(VersionState.END)
        log.info("Version %d of %s has ended.", servable.version, self._settings.name)

    def _why(self, version: int) -> str:
        status = self.status.get(version)
        return (
            status.message
            if status and status.message
            else "not among the versions that are there and chosen"
        )


class VersionState(Enum):
    """Stages of a version, by TensorFlow Serving's names and numbers."""

    LOADING = ModelVersionStatus.LOADING
    AVAILABLE = ModelVersionStatus.AVAILABLE
    UNLOADING = ModelVersionStatus.UNLOADING
    END = ModelVersionStatus.END


@dataclass(frozen=True)
class VersionStatus:
    """Stage of a version, and what went wrong if something did."""

    state: VersionState
    code: StatusCode = StatusCode.OK
    message: str = ""


def status_response(statuses: dict[int, VersionStatus]) -> GetModelStatusResponse:
    """Returns the answer to GetModelStatus, newest version first."""
    response = GetModelStatusResponse()
    for version, status in sorted(statuses.items(), reverse=True):
        item = response.model_version_status.add(version=version, state=status.state.value)
        item.status.error_code = status.code.value[0]
        item.status.error_message = status.message
    return response
