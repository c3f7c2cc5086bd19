"""`push.json`: what the Pusher did."""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract


class PushResult(Contract):
    """Whether a version was pushed, and where.

    Attributes:
        pushed: whether there is a new version.
        version: its number.
        destination: its folder.
        reason: why nothing was pushed.
    """

    FILE: ClassVar[str] = "push.json"

    pushed: bool
    version: int | None = None
    destination: str | None = None
    reason: str | None = None
