"""Which versions are served: the audit log of `mastery models`, and `routing.json` for gateways."""

from __future__ import annotations

import getpass
import platform
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import Field

from components.contracts.contract import Contract, Part

STABLE = "stable"
CANARY = "canary"
DIGEST_KEY = b',"digest":"'  # before an entry's own digest, the last of its keys

Action = Literal["promote", "rollback", "canary", "canary stop", "prune", "adopt"]


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
    """

    name: str = ""
    base_path: str = ""
    stable: int | None = None
    canary: int | None = None
    share: int | None = None
    earlier: tuple[int, ...] = ()
    loaded: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()

    def previous(self, available: AbstractSet[int]) -> int | None:
        """Returns the version that a rollback makes stable: the latest earlier one that is left."""
        candidates = available - {self.stable}
        return next((version for version in reversed(self.earlier) if version in candidates), None)


class AuditEntry(Contract):
    """One change of what is served.

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
        head: digest of that entry.
    """

    FILE: ClassVar[str] = "routing.json"

    revision: int
    time: str
    model: str
    routes: list[Route] = []
    head: str | None = None

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
            head=entry.digest,
        )
