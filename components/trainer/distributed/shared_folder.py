"""The folder that training workers join: its files, and how they are written and read.

```
folder/
  workers/<id>/registration.json   the worker: where it is reached, what it runs
               heartbeat.json      the worker: a number that grows
               claim.json          a Trainer: that it uses the worker; made by one only (O_EXCL)
               wanted.json         that Trainer: the order to work on
               status.json         the worker: how that goes; gone when it is free again
               refusal.json        a Trainer of another version: why it does not use the worker
  trainers/<id>/heartbeat.json     a Trainer that uses workers: a number that grows
```

A Trainer claims a worker for one attempt, and removes the claim to end it, whatever the worker is
doing. The worker removes the claim of a Trainer that is not heard from.

Every file but the claim is written beside its name and renamed, so a reader sees all of it or the
one before. Nothing depends on clocks: whoever waits for another counts by its own clock how long
the other's number has not grown. A folder is listed before a file in it is read, because a client
of NFS remembers for up to a minute that a name was missing, and asks again when it lists.

What others wrote is not trusted: files have a bounded size and checked values, links are not
followed, and no path or command comes from a registration.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, Field

from components.contracts.contract import Contract, ContractError
from components.errors import MasteryError
from components.node.cache_key import code_fingerprint

BEAT = 3.0  # seconds between two heartbeats
LOOK = 1.0  # seconds between two looks at a file of somebody else
LOST = 30.0  # seconds without a heartbeat after which a worker counts as lost
TRAINER_LOST = 60.0  # the same of a Trainer

_LARGEST = 64 * 1024  # bytes of a file here
_MOST_WORKERS = 1000  # registrations that are looked at
_FORGOTTEN = 24 * 3600.0  # seconds after which the files of somebody dead are removed

# What a result depends on, beside our own code.
_LIBRARIES = ("mastery", "tensorflow", "keras", "numpy")
_WORKER_CODE = "components.trainer.distributed.worker"

_ID = re.compile(r"[0-9a-f]{16}")
_HOST_PART = r"[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_HOST_PART}(\.{_HOST_PART})*\.?")


def is_host(text: str) -> bool:
    """Returns whether a text is the name or the IP address of a host.

    >>> is_host("worker-1.example"), is_host("10.0.0.7"), is_host("fd00::7"), is_host("a b")
    (True, True, True, False)
    """
    with contextlib.suppress(ValueError):
        return "%" not in text and bool(ipaddress.ip_address(text))
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def join_address(host: str, port: int) -> str:
    """Returns `host:port`; an IPv6 address gets its brackets.

    >>> join_address("host-b", 7900), join_address("fd00::7", 7900)
    ('host-b:7900', '[fd00::7]:7900')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_host(value: str) -> str:
    if not is_host(value):
        raise ValueError(f"expected the name or IP address of a host, found {value!r}")
    return value


def _check_id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError(f"expected 16 hexadecimal digits, found {value!r}")
    return value


Id = Annotated[str, AfterValidator(_check_id)]
_Text = Annotated[str, Field(max_length=200)]
_C = TypeVar("_C", bound=Contract)


class Registration(Contract):
    """A worker that waits for orders, or works on one.

    Attributes:
        host: where other workers reach it.
        port: the same.
        machine: the machine's own name, for people.
        gpus: how many it may use.
        software: versions, and a digest of the code, as `software` returns them.
    """

    FILE: ClassVar[str] = "registration.json"
    host: Annotated[str, AfterValidator(_check_host)]
    port: int = Field(ge=1, le=65535, strict=True)
    machine: _Text
    gpus: int = Field(0, ge=0, le=1024, strict=True)
    software: dict[_Text, _Text] = Field(max_length=50)

    @property
    def address(self) -> str:
        """Returns host and port."""
        return join_address(self.host, self.port)


class Heartbeat(Contract):
    """A number that grows while its writer lives."""

    FILE: ClassVar[str] = "heartbeat.json"
    count: int = Field(ge=0)


class Claim(Contract):
    """The use of a worker by a Trainer.

    Attributes:
        claim: the id of this use.
        trainer: the id of the Trainer, whose heartbeat the worker follows.
        machine: where the Trainer runs, for people.
    """

    FILE: ClassVar[str] = "claim.json"
    claim: Id
    trainer: Id
    machine: _Text


class Wanted(Contract):
    """The order that a worker is to work on.

    Attributes:
        claim: the id of the use that it belongs to.
        order: the order's file, which all machines see at this path.
        rank: which of the workers it is, from 0.
        tf_config: the variable `TF_CONFIG`.
    """

    FILE: ClassVar[str] = "wanted.json"
    claim: Id
    order: str = Field(max_length=4096, pattern=r"^/[^\x00]*$")
    rank: int = Field(ge=0, le=_MOST_WORKERS)
    tf_config: str = Field(max_length=_LARGEST // 2)


class Status(Contract):
    """What a worker has done for a Trainer.

    Attributes:
        claim: the id of the use that it belongs to.
        exit_status: of its process; None while that runs, or waits for an order.
        message: why there was no process.
    """

    FILE: ClassVar[str] = "status.json"
    claim: Id
    exit_status: int | None = None
    message: str = Field("", max_length=2000)


class Refusal(Contract):
    """Why a Trainer does not use a worker.

    Attributes:
        machine: where the Trainer runs.
        reason: for people.
    """

    FILE: ClassVar[str] = "refusal.json"
    machine: _Text
    reason: str = Field(max_length=1000)


def new_id() -> str:
    """Returns an id that nobody else has."""
    return secrets.token_hex(8)


def software() -> dict[str, str]:
    """Returns what has to be the same on all machines: versions, and a digest of the code."""
    versions = {name: version(name) for name in _LIBRARIES}
    return {**versions, "code": code_fingerprint(_WORKER_CODE)}


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Returns in which versions two machines differ; empty if in none.

    >>> difference({"keras": "3.14.0", "code": "a"}, {"keras": "3.15.0", "code": "a"})
    'keras 3.14.0 and 3.15.0'
    """
    names = [*ours, *(name for name in theirs if name not in ours)]
    return ", ".join(
        f"{name} {theirs.get(name, 'none')} and {ours.get(name, 'none')}"
        for name in names
        if theirs.get(name) != ours.get(name)
    )


def check_folder(folder: Path, option: str) -> Path:
    """Returns the folder's absolute path.

    Args:
        folder: what was given.
        option: what gave it, for the error.

    Raises:
        MasteryError: there is no such folder, or it cannot be written to.
    """
    path = folder.absolute()
    if not path.is_dir():
        raise MasteryError(
            f"{option}: expected a folder that all machines share, found none at {path}. Make it, "
            "or mount it here."
        )
    probe = path / f".probe-{secrets.token_hex(4)}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise MasteryError(
            f"{option}: {path} cannot be written to ({error.strerror}). Workers and Trainers both "
            "write there: give this user the right to."
        ) from None
    return path


def make_member(folder: Path, kind: str, name: str) -> Path:
    """Makes the folder of a worker or Trainer, with the shared folder's own rights.

    Args:
        folder: the shared folder.
        kind: workers or trainers.
        name: its id.
    """
    rights = folder.stat().st_mode & 0o2770  # who may write there may write here
    path = folder / kind / name
    for made in (path.parent, path):
        with contextlib.suppress(FileExistsError):
            made.mkdir()
            made.chmod(rights | 0o700)
    return path


def members(folder: Path, kind: str) -> list[Path]:
    """Returns the folders of all workers or Trainers, by id; other names are left out."""
    try:
        with os.scandir(folder / kind) as entries:
            found = [
                Path(entry.path)
                for entry in entries
                if _ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except FileNotFoundError:
        return []
    return sorted(found)[:_MOST_WORKERS]


def remove_forgotten(folder: Path, own: Path) -> None:
    """Removes what workers and Trainers left that died long ago.

    Args:
        folder: the shared folder.
        own: a member's folder with a new heartbeat, whose time is that of the same file server.
    """
    now = (own / Heartbeat.FILE).stat().st_mtime
    for other in (*members(folder, "workers"), *members(folder, "trainers")):
        with contextlib.suppress(OSError):
            last = max(path.stat().st_mtime for path in (other, *other.iterdir()))
            if now - last > _FORGOTTEN:
                shutil.rmtree(other)


def write(folder: Path, content: Contract) -> None:
    """Writes a file, whole or not at all, without waiting for a disk.

    Raises:
        OSError: the folder is gone, or nothing can be written.
    """
    beside = folder / f".{content.FILE}.{secrets.token_hex(4)}"
    try:
        beside.write_text(content.to_json(), encoding="utf-8")
        beside.replace(folder / content.FILE)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def read(folder: Path, kind: type[_C]) -> _C | None:
    """Returns what a file holds; None if it is missing, unreadable or not what it should be."""
    try:
        if not has(folder, kind):
            return None
        return kind.from_json(_bounded(folder / kind.FILE))
    except (OSError, ContractError):
        return None


def has(folder: Path, kind: type[Contract]) -> bool:
    """Returns whether there is a file of that name, by a list of the folder.

    Raises:
        OSError: the folder cannot be listed.
    """
    return kind.FILE in {path.name for path in folder.iterdir()}


def _bounded(path: Path) -> bytes:
    """Returns the content of a file of at most `_LARGEST` bytes; follows no link, blocks at none.

    Raises:
        ContractError: it is larger.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ContractError(f"{path}: expected at most {_LARGEST} bytes.")
    return content


def make_claim(folder: Path, claim: Claim) -> bool:
    """Claims a worker; returns False if it is claimed already, or gone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / Claim.FILE, flags, 0o666)
    except OSError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(claim.to_json())
    return True


def remove_claim(folder: Path, claim: str) -> None:
    """Ends a use of a worker; does nothing if it has ended."""
    found = read(folder, Claim)
    if found is not None and found.claim == claim:
        with contextlib.suppress(OSError):
            (folder / Claim.FILE).unlink(missing_ok=True)


class Liveness:
    """Whether somebody lives, by a number of theirs that grows.

    Attributes:
        beats: how often it was seen to grow.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count: int | None = None
        self._since = time.monotonic()
        self.beats = 0

    def look(self) -> None:
        """Reads the number."""
        heartbeat = read(self._folder, Heartbeat)
        if heartbeat is None or heartbeat.count == self._count:
            return
        if self._count is not None:
            self.beats += 1
        self._count = heartbeat.count
        self._since = time.monotonic()

    @property
    def silence(self) -> float:
        """Returns for how many seconds it has not grown, by this machine's clock."""
        return time.monotonic() - self._since
