"""The audit log: who changed what when, with what was served before and after."""

from __future__ import annotations

import getpass
import platform
import uuid
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import MasteryError
from serving.models.state import State
from serving.models.storage import Storage

Action = Literal["promote", "rollback", "canary", "canary stop", "prune", "adopt"]


def whoami() -> str:
    """Returns the user and machine that a change is recorded under."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = "unknown"
    return f"{user}@{platform.node()}"


class Entry(BaseModel):
    """One change."""

    model_config = ConfigDict(frozen=True)

    revision: int = Field(description="1 for the first change, and so on without gaps")
    id: str = Field(
        default_factory=lambda: uuid.uuid4().hex,
        description="tells two tries for one revision apart",
    )
    time: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    who: str = Field(default_factory=whoami)
    action: Action
    version: int | None = Field(
        default=None, description="the version that was named, or that became stable"
    )
    reason: str | None = Field(default=None, description="why, in the words of who did it")
    forced: tuple[str, ...] = Field(
        default=(), description="what spoke against the version and was overruled"
    )
    removed: tuple[int, ...] = Field(
        default=(), description="versions that a prune removes after this entry"
    )
    before: State
    after: State


def read_entries(storage: Storage, last: int | None = None) -> list[Entry]:
    """Returns the entries of the log, or the `last` ones, oldest first.

    Raises:
        MasteryError: an entry is not one of ours.
    """
    found = []
    for content in storage.entries(last):
        try:
            found.append(Entry.model_validate_json(content))
        except ValidationError as error:
            first = error.errors()[0]
            raise MasteryError(
                f"{storage.address}: expected an entry of `mastery models` in the audit log, found "
                f"{content[:80].decode(errors='replace')!r} ({first['msg']}). Put back what was there."
            ) from None
    return found


def last_entry(storage: Storage) -> Entry | None:
    """Returns the newest entry, or None where nothing has been changed yet."""
    return next(iter(read_entries(storage, last=1)), None)
