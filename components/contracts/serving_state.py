"""What is served and who approved it: the log of `mastery models`; `routing.json` for gateways."""

from __future__ import annotations

import getpass
import platform
import uuid
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import Field

from components.contracts.contract import Contract, Part

STABLE = "stable"
CANARY = "canary"
DIGEST_KEY = b',"digest":"'  # before an entry's own digest, the last of its keys

Action = Literal[
    "promote", "rollback", "canary", "canary stop", "prune", "adopt", "stop", "resume", "incident",
    "approve", "revoke", "policy",
]  # fmt: skip
Severity = Literal["serious", "other"]  # a serious incident: Article 3(49) of the EU's AI Act
Means = Literal["account", "board", "signature"]


def whoami() -> str:
    """Returns the user and machine that a change is recorded under."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = "unknown"
    return f"{user}@{platform.node()}"


def who_pushes(environment: Mapping[str, str]) -> str:
    """Returns who pushes a version: in a CI job, the person who started it.

    >>> who_pushes({"GITHUB_ACTIONS": "true", "GITHUB_TRIGGERING_ACTOR": "ann"})
    'ann@github'
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        user = environment.get("GITHUB_TRIGGERING_ACTOR") or environment.get("GITHUB_ACTOR")
        return f"{user or 'unknown'}@github"
    if environment.get("GITLAB_CI") == "true":
        return f"{environment.get('GITLAB_USER_LOGIN') or 'unknown'}@gitlab"
    return whoami()


class Stop(Part):
    """A version, or all of a model, taken out of service until it is resumed.

    Attributes:
        version: the version; None for all versions, also those that are pushed later.
        whole: whether it took the model out of service: the version was what servers answer with.
        served: the version that they answered with, if so; `resume` brings it back.
        label: the label that the version had.
        who: user and machine.
        time: when, ISO 8601 in UTC.
        reason: why, in the words of the user.
    """

    version: int | None
    whole: bool
    served: int | None = None
    label: str | None = None
    who: str
    time: str
    reason: str

    def describe(self, model: str) -> str:
        """Returns what was stopped by whom, when and why, without a full stop.

        >>> stop = Stop(version=7, whole=True, who="ana@vm", time="2026-11-27T08:00:12.001+00:00",
        ...             reason="wrong answers")
        >>> stop.describe("sample")
        'version 7 of sample was stopped by ana@vm at 2026-11-27 08:00:12 UTC: wrong answers'
        """
        what = f"all of {model}" if self.version is None else f"version {self.version} of {model}"
        moment = self.time[:19].replace("T", " ")
        return f"{what} was stopped by {self.who} at {moment} UTC: {self.reason}"


def find_stop(stops: Iterable[Stop], version: int | None) -> Stop | None:
    """Returns the stop that keeps a version from being served, or None."""
    return next((stop for stop in stops if stop.version in (None, version)), None)


def find_whole_stop(stops: Iterable[Stop], stable: int | None) -> Stop | None:
    """Returns the latest stop that keeps all of a model from being served, or None.

    Once another version is stable, the stop of the one before holds for that one only.
    """
    found = [stop for stop in stops if stop.whole]
    return found[-1] if found and stable is None else None


class ServedState(Part):
    """What is served, and what was served before.

    Attributes:
        name: the model's name, also in requests.
        base_path: where the server finds the versions.
        stable: the version with the label stable.
        canary: the version with the label canary.
        share: percent of the requests that the canary is to get.
        earlier: versions that were stable before, the latest last.
        loaded: all versions that the server is to hold in memory, sorted.
        removing: versions that a prune has begun to remove.
        stopped: what was taken out of service and not resumed yet, the latest last.
    """

    name: str = ""
    base_path: str = ""
    stable: int | None = None
    canary: int | None = None
    share: int | None = None
    earlier: tuple[int, ...] = ()
    loaded: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()
    stopped: tuple[Stop, ...] = ()

    @property
    def out_of_service(self) -> Stop | None:
        """The stop that keeps the whole model from being served, or None."""
        return find_whole_stop(self.stopped, self.stable)

    def stop_of(self, version: int) -> Stop | None:
        """Returns the stop that keeps a version from being served, or None."""
        return find_stop(self.stopped, version)

    def previous(self, available: AbstractSet[int]) -> int | None:
        """Returns the version that a rollback makes stable: the latest earlier one that is left."""
        candidates = {found for found in available - {self.stable} if self.stop_of(found) is None}
        return next((version for version in reversed(self.earlier) if version in candidates), None)


class ApprovalPolicy(Part):
    """Which approvals a version needs; see `components.config.approvals.Approvals`."""

    needed: int = 0
    roles: tuple[str, ...] = ()
    accept: tuple[Means, ...] = ("account", "board", "signature")
    keys: dict[str, str] = {}


class Approval(Part):
    """That somebody approves a version, or does so no more.

    Attributes:
        by: who: a user's name on a machine, a user of the board, or the name of a key.
        means: how that is known.
        role: of a user of the board.
        model_sha256: the digest of the version's files.
        manifest_sha256: the digest of its manifest, which holds that of the files, metrics, gates
            and who pushed it. An approval counts only for these bytes.
        signature: over `serving.models.approval_signatures.statement`, in base64.
    """

    by: str
    means: Means
    role: str | None = None
    model_sha256: str
    manifest_sha256: str
    signature: str | None = None


class AuditEntry(Contract):
    """One change of what is served, or of who approves it.

    In a folder, `audit.jsonl` has one entry per line; in an object store, each entry is an object
    of its own below `audit/`.

    Attributes:
        revision: 1 for the first change, and so on without gaps.
        id: tells two attempts at one revision apart.
        time: when, ISO 8601 in UTC.
        who: user and machine.
        action: what was done.
        version: the version that was named, or that became stable.
        reason: why, in the words of the user.
        forced: the objections to the version that `--force` overruled.
        removed: versions that a prune removes after this entry.
        severity: of an incident.
        approval: of an approval, or of its revocation.
        policy: which approvals versions need from this entry on; None: as before.
        before: what was served before.
        after: what is served from now on.
        previous: digest of the entry before; see `components.contracts.audit_chain`. None, like
            `digest`, in a log from before there were digests.
        digest: of this entry.
    """

    FILE: ClassVar[str] = "audit.jsonl"

    revision: int
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    time: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    who: str = Field(default_factory=whoami)
    action: Action
    version: int | None = None
    reason: str | None = None
    forced: tuple[str, ...] = ()
    removed: tuple[int, ...] = ()
    severity: Severity | None = None
    approval: Approval | None = None
    policy: ApprovalPolicy | None = None
    before: ServedState
    after: ServedState
    previous: str | None = None
    digest: str | None = None

    def to_line(self) -> bytes:
        """Returns the entry as one line of JSON, without its end."""
        line = self.model_dump_json(exclude={"digest"}).encode()
        if self.digest is None:
            return line
        return line[:-1] + DIGEST_KEY + self.digest.encode() + b'"}'


class Route(Part):
    """The share of the requests that one label is to get.

    Attributes:
        label: the label to send requests to.
        version: the version that has it.
        percent: percent of the requests.
    """

    label: str
    version: int
    percent: int


class Routing(Contract):
    """`routing.json`: how a gateway or a client splits the requests among the labels.

    Attributes:
        revision: revision of the audit entry that it was made from.
        time: time of that entry.
        model: the model's name.
        routes: the labels and their shares; empty while no version is stable.
        stopped: what is out of service, by whom, when and why.
        head: digest of that entry.
    """

    FILE: ClassVar[str] = "routing.json"

    revision: int
    time: str
    model: str
    routes: list[Route] = []
    stopped: list[Stop] = []
    head: str | None = None

    @property
    def out_of_service(self) -> Stop | None:
        """The stop that keeps the whole model from being served, or None."""
        return find_whole_stop(self.stopped, self.routes[0].version if self.routes else None)

    @classmethod
    def of(cls, entry: AuditEntry) -> Routing:
        """Returns the routing that an audit entry leads to."""
        state = entry.after
        share = state.share or 0

        routes = []
        if state.stable is not None:
            routes.append(Route(label=STABLE, version=state.stable, percent=100 - share))
            if state.canary is not None:
                routes.append(Route(label=CANARY, version=state.canary, percent=share))
        return cls(
            revision=entry.revision,
            time=entry.time,
            model=state.name,
            routes=routes,
            stopped=[*state.stopped],
            head=entry.digest,
        )
