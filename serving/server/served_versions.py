"""The versions of one model: loaded as they appear, and closed when no request uses them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from grpc import StatusCode
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus

from components.command.escape import shorten
from components.errors import MasteryError
from components.model_version.folders import VersionFolders, find_versions, version_number
from components.model_version.signature import verified_copy
from components.model_version.verify import find_root, verify_version
from serving.server.canary import Split, split_of
from serving.server.request_error import QUOTED, RequestError, invalid, listed
from serving.server.servable import LoadedModel, Servable, load_warm
from serving.server.shadow_process import Other
from serving.server.version_policy import (
    ModelConfigError,
    Stops,
    VersionPolicy,
    list_missing,
    read_policy,
    read_routing,
    stops_of,
)

if TYPE_CHECKING:
    from components.contracts.serving_state import Routing
    from serving.prediction_log.recorder import Recorder
    from serving.server.server_settings import ServerSettings
    from serving.server.shadow_process import ShadowSettings
    from serving.server.telemetry import ServerMetrics

log = logging.getLogger("mastery.serving")

RETRY_SECONDS = 30.0  # until loading a version that has failed is tried again
MOST_NOTES = 20  # lines on missing versions that one poll may log


class VersionState(Enum):
    """States of a version, by TensorFlow Serving's names and numbers."""

    LOADING = ModelVersionStatus.LOADING
    AVAILABLE = ModelVersionStatus.AVAILABLE
    UNLOADING = ModelVersionStatus.UNLOADING
    END = ModelVersionStatus.END


@dataclass(frozen=True)
class VersionStatus:
    """State of a version, and its error if it has one."""

    state: VersionState
    code: StatusCode = StatusCode.OK
    message: str = ""


def load_verified(path: Path, settings: ServerSettings | ShadowSettings) -> LoadedModel:
    """Loads a version after checking its files, and its signature if one is asked for.

    Args:
        path: the version's folder, or that of its export for GPUs.
        settings: what is checked.

    Raises:
        Exception: the version must not be loaded; or whatever TensorFlow raises.
    """
    if settings.trust is None:
        return _load_checked(path, settings, within=settings.models)

    root = find_root(path, settings.models)
    number = version_number(root.name)
    with verified_copy(root, settings.trust, number=number) as copy:
        export = copy / path.resolve().relative_to(root)
        return _load_checked(export, settings, within=copy.parent)


def _load_checked(
    path: Path, settings: ServerSettings | ShadowSettings, *, within: Path
) -> LoadedModel:
    doubt = verify_version(path, within=within, require_manifest=settings.require_manifest)
    if doubt:
        log.warning("%s", doubt)
    return load_warm(path, allowed_operations=settings.allowed_operations)


class ServedVersions:
    """The versions of one model; belongs to one event loop.

    A new version is loaded and has answered its warm-up requests before an old one is closed. If
    it cannot be loaded, the old one stays.

    Attributes:
        status: of each version that was ever loaded, newest last.
        on_change: called after each poll, when all versions are loaded.
        split: who answers requests that name neither a version nor a label; None without a
            `routing.json` that says so: then it is the newest version.
    """

    @staticmethod
    def status_response(statuses: dict[int, VersionStatus]) -> GetModelStatusResponse:
        """Returns the answer to GetModelStatus, newest version first."""
        response = GetModelStatusResponse()
        for version, status in sorted(statuses.items(), reverse=True):
            item = response.model_version_status.add(version=version, state=status.state.value)
            item.status.error_code = status.code.value[0]
            item.status.error_message = status.message
        return response

    def __init__(
        self,
        settings: ServerSettings,
        executor: Executor,
        metrics: ServerMetrics,
        recorder: Recorder | None = None,
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._metrics = metrics
        self._recorder = recorder
        self.status: dict[int, VersionStatus] = {}
        self.on_change: Callable[[], Awaitable[None]] | None = None
        self.split: Split | None = None

        self._policy = VersionPolicy()
        self._file_policy: VersionPolicy | str | None = None  # from models.config, or its error
        self._routing: Routing | None = None
        self._stops = Stops()
        self._folders = VersionFolders({}, {})
        self._polling = asyncio.Lock()
        self._logged: set[str] = set()  # notes about the folder that still hold

        self._others: dict[int, Other] = {}
        self._servables: dict[int, Servable] = {}
        self._labels: dict[str, int] = {}  # those whose versions are available
        self._retry_at: dict[int, float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def available(self) -> list[int]:
        """Available versions, oldest first."""
        return sorted(self._servables)

    @contextmanager
    def lease(self, version: int | None, label: str | None) -> Iterator[Servable]:
        """Holds a version for the length of the block; by default the stable or newest one.

        Raises:
            RequestError: there is no such version, or none at all.
        """
        servable = self._find(version, label)
        servable.leases += 1
        try:
            yield servable
        finally:
            servable.leases -= 1

    def other_than(self, version: int) -> Other | None:
        """Returns the version to ask in the shadow of another one; None without a pair.

        The pair is the version that answers by default and the canary; without one, the newest
        version, if that is newer.
        """
        return self._others.get(version)

    def resolve(self, version: int | None, label: str | None) -> int | None:
        """Returns the version of a label; without a label, the version as it is.

        Raises:
            RequestError: there is no such label.
        """
        if not label:
            return version
        if label in self._labels:
            return self._labels[label]
        self._refuse_stopped(version, label)

        number = self._policy.labels.get(label)
        if number is None:
            why = f"the labels are: {listed(sorted(self._labels))}"
        else:
            why = f"its version {number} is not available: {self._why(number)}"
        raise invalid(f"Unrecognized servable version label: {shorten(label, QUOTED)}; {why}.")

    async def poll(self) -> None:
        """Reads the folder once, then loads and closes versions."""
        async with self._polling:
            self._read_routing()
            if self._stops.whole is None:
                self._read_policy()
            try:
                self._folders = self._find_folders()
            except OSError as error:
                folder = self._settings.models
                log.warning("%s: the folder could not be read: %s", folder, error.strerror)
                return
            await self._follow()

    async def apply(self, policy: VersionPolicy) -> None:
        """Applies another policy until `models.config` changes; returns once it is in effect.

        Raises:
            RequestError: a version is missing, cannot be loaded or was stopped; the old policy
                stays.
        """
        async with self._polling:
            self._read_routing()
            for version in {*policy.specific, *policy.labels.values(), None}:
                self._refuse_stopped(version, None)
            self._folders = self._find_folders()
            chosen = policy.choose(self._folders.paths)
            requested = {*policy.specific, *policy.labels.values()}
            self._retry_at.clear()
            await self._load([version for version in chosen if version in requested])

            missing = sorted(requested - (set(chosen) & self._servables.keys()))
            if not missing:
                self._policy = policy
            await self._follow()
            if not missing:
                return
            reasons = [f"{version}: {self._why(version)}" for version in missing]
            raise RequestError(
                StatusCode.FAILED_PRECONDITION,
                f"versions that cannot be served: {listed(reasons, separator='; ')}.",
            )

    async def watch(self) -> None:
        """Keeps polling."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            await self.poll()

    async def close(self) -> None:
        """Closes all versions once their requests are answered."""
        for version in list(self._servables):
            self._close(version)
        if self._closing:
            await asyncio.wait(self._closing)

    def _find(self, version: int | None, label: str | None) -> Servable:
        number = self.resolve(version, label)
        self._refuse_stopped(number, None)
        if number is None:
            number = max(self._servables, default=None) if self.split is None else self.split.stable
        if number in self._servables:
            return self._servables[number]

        which = "Latest" if number is None else f"Specific version {number}"
        why = f"; {self._why(number)}" if number in self._policy.specific else ""
        raise RequestError(
            StatusCode.NOT_FOUND,
            f"Servable not found for request: {which} of {self._settings.name}{why}.",
        )

    def _refuse_stopped(self, version: int | None, label: str | None) -> None:
        """Refuses a request for what somebody has stopped.

        Raises:
            RequestError: by whom, when and why.
        """
        reason = self._stops.reason(version, label)
        if reason is not None:
            raise RequestError(StatusCode.UNAVAILABLE, reason)

    def _read_routing(self) -> None:
        """Reads what is out of service; as long as that cannot be read, what it was stays so."""
        routing = read_routing(self._settings.models)
        if routing is None or routing == self._routing:
            return
        self._routing = routing
        found = stops_of(routing)
        if found != self._stops:
            self._stops = found
            if found.whole is not None:
                log.warning("%s", found.reason(None))

    def _find_folders(self) -> VersionFolders:
        """Lists the versions that nobody has stopped, and notes why the others are not served.

        Raises:
            OSError: the folder cannot be read.
        """
        found = find_versions(self._settings.models)
        reasons = {version: self._stops.reason(version) for version in found.paths}
        for version, reason in reasons.items():
            if reason is not None and version not in self._servables:
                ended = VersionStatus(VersionState.END, StatusCode.UNAVAILABLE, reason)
                self.status[version] = ended
        paths = {version: path for version, path in found.paths.items() if reasons[version] is None}
        return VersionFolders(paths, found.passed_over)

    def _read_policy(self) -> None:
        found: VersionPolicy | str
        try:
            found = read_policy(self._settings.models, self._settings.name)
        except ModelConfigError as error:
            found = str(error)
        if found == self._file_policy:
            return

        self._file_policy = found
        if isinstance(found, VersionPolicy):
            self._policy = found
        else:
            log.warning("%s The versions stay as they are.", found)

    async def _follow(self) -> None:
        """Loads what the policy chooses, moves labels, and closes what is no longer needed."""
        chosen = self._policy.choose(self._folders.paths)
        if self._stops.whole is None:
            self._log_missing()
        await self._load(chosen)
        if not self._servables and not self._policy.specific:
            await self._load_any()

        labels = {
            label: self._labelled(label, version) for label, version in self._policy.labels.items()
        }
        self._labels = {label: version for label, version in labels.items() if version is not None}

        for version in self.available:
            if (reason := self._stops.reason(version)) is not None:
                self._close(version, reason)
        labelled = {label: item for label, item in self._labels.items() if item in self._servables}
        self.split = None if self._routing is None else split_of(self._routing, labelled)
        self._others = self._pair_up()
        served = {version for version in chosen if version in self._servables}
        if served:  # otherwise the available versions stay, chosen or not
            for version in sorted(self._servables.keys() - served - set(self._labels.values())):
                self._close(version)
        self._metrics.versions_available = self.available
        if self.on_change is not None:
            await self.on_change()

    def _pair_up(self) -> dict[int, Other]:
        """Returns the version to ask in the shadow of each of a pair, by the other one."""
        split, paths = self.split, self._folders.paths
        first = max(self._servables, default=None) if split is None else split.stable
        canary = None if split is None else split.canary
        second = canary or max(paths, default=None)
        if first is None or second is None or first not in paths or second not in paths:
            return {}
        if first == second or (second < first and canary is None):
            return {}
        pair = frozenset((first, second))
        return {
            first: Other(second, paths[second], pair),
            second: Other(first, paths[first], pair),
        }

    def _log_missing(self) -> None:
        """Logs skipped folders, missing versions and labels; each once as long as it holds."""
        folder = self._settings.models
        notes = list_missing(folder, self._folders, self._policy)
        new = [note for note in notes if note not in self._logged]
        for note in new[:MOST_NOTES]:
            log.warning("%s", note)
        if len(new) > MOST_NOTES:
            log.warning("%s: and %d more such notes.", folder, len(new) - MOST_NOTES)
        self._logged = set(notes)

    def _labelled(self, label: str, version: int) -> int | None:
        """Returns the version of a label; until it is available, the one before it."""
        if version in self._servables:
            return version
        before = self._labels.get(label)
        return before if before in self._servables else None

    async def _load(self, chosen: list[int]) -> None:
        for version in chosen:
            is_due = time.monotonic() >= self._retry_at.get(version, 0.0)
            if version not in self._servables and is_due:
                await self._load_one(version)

    async def _load_any(self) -> None:
        """Loads the newest version that can be loaded: an old one is better than none."""
        for version in reversed(self._folders.paths):
            await self._load([version])
            if self._servables:
                return

    async def _load_one(self, version: int) -> None:
        path = self._folders.paths[version]
        self.status[version] = VersionStatus(VersionState.LOADING)
        started = time.perf_counter()
        try:
            model = await asyncio.to_thread(load_verified, path, self._settings)
        except Exception as error:  # TensorFlow raises many kinds; the other versions stay
            self._metrics.load(str(path), time.perf_counter() - started, succeeded=False)
            self._note_failure(version, path, error)
            return

        seconds = time.perf_counter() - started
        self._metrics.load(str(path), seconds, succeeded=True)
        self._servables[version] = Servable(
            version, model, self._settings, self._executor, self._metrics, self._recorder
        )
        self.status[version] = VersionStatus(VersionState.AVAILABLE)
        self._metrics.versions_available = self.available
        name = self._settings.name
        log.info("Version %d of %s is available, loaded in %.1f s.", version, name, seconds)

    def _note_failure(self, version: int, path: Path, error: Exception) -> None:
        is_known = isinstance(error, MasteryError)
        code = StatusCode.FAILED_PRECONDITION if is_known else StatusCode.UNKNOWN
        reason = shorten(str(error) if is_known else f"{type(error).__name__}: {error}", 2000)
        log.error("%s: the version cannot be served: %s", path, reason)
        self.status[version] = VersionStatus(VersionState.END, code, reason)
        self._retry_at[version] = time.monotonic() + RETRY_SECONDS

    def _close(self, version: int, stopped: str | None = None) -> None:
        """Closes a version: because it is not needed, or because somebody has `stopped` it."""
        servable = self._servables.pop(version)  # from here on, no request finds it
        code = StatusCode.OK if stopped is None else StatusCode.UNAVAILABLE
        self.status[version] = VersionStatus(VersionState.UNLOADING, code, stopped or "")
        task = asyncio.get_running_loop().create_task(self._close_servable(servable))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_servable(self, servable: Servable) -> None:
        await servable.close()
        status = self.status[servable.version]
        if status.state is VersionState.UNLOADING:
            self.status[servable.version] = replace(status, state=VersionState.END)
        log.info("Version %d of %s has ended.", servable.version, self._settings.name)

    def _why(self, version: int) -> str:
        """Returns why a version is not available."""
        status = self.status.get(version)
        if status is None or not status.message:
            return "it is not among the versions that exist and are chosen"
        return status.message
