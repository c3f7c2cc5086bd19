"""Who has to approve a version before it is served."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.command.escape import shorten
from components.config.section import KeyedError, Section

Means = Literal["account", "board", "signature"]
ALL_MEANS: tuple[Means, ...] = ("account", "board", "signature")
BoardRole = Literal["teacher", "manager", "admin"]

_LARGEST_KEY = 600  # bytes; an ECDSA key over the largest curve has 158


def _public_key(text: object) -> object:
    """Returns a public key on one line, without the first and the last line of a PEM file."""
    if not isinstance(text, str):
        return text
    if "PRIVATE" in text:
        raise ValueError("expected a public key, found a private one, which never stands here")
    body = re.sub(r"-----[A-Z ]+-----|\s+", "", text)
    try:
        content = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content.startswith(b"0") or len(content) > _LARGEST_KEY:  # a sequence in DER
        raise ValueError(
            "expected a public key in PEM, as `openssl pkey -pubout` prints it, found "
            f"{shorten(text, 40)!r}"
        )
    return body


def _name(text: str) -> str:
    if not re.fullmatch(r"[^\s@](?:[^@\n]*[^\s@])?", text):
        raise ValueError(f"expected a person's name without @, found {text!r}")
    return text


PublicKey = Annotated[str, BeforeValidator(_public_key)]
ApproverName = Annotated[str, AfterValidator(_name)]


class Approvals(Section):
    """Who has to approve a version before it is served."""

    needed: int = Field(
        0, ge=0, le=10, description="approvals by people other than the one who pushed it"
    )
    roles: list[BoardRole] = Field(
        default_factory=list,
        description="roles of the board whose approvals count; default: administrators",
    )
    accept: list[Means] = Field(
        default_factory=lambda: [*ALL_MEANS],
        min_length=1,
        description="which approvals count: `account` (a user's name on a machine, no proof), "
        "`board` (who is logged in there), `signature` (by a key below)",
    )
    keys: dict[ApproverName, PublicKey] = Field(
        default_factory=dict,
        description="public keys of approvers by name: Ed25519 or ECDSA, in PEM",
    )

    @model_validator(mode="after")
    def _keys_are_there(self) -> Approvals:
        if self.needed and self.accept == ["signature"] and len(self.keys) < self.needed:
            raise KeyedError(
                "keys",
                f"expected at least {self.needed}, since only signatures are accepted, found "
                f"{len(self.keys)}",
            )
        people = [name.casefold() for name in self.keys]
        if len({*people}) < len(people) or len({*self.keys.values()}) < len(people):
            raise KeyedError("keys", "expected a key of its own for each person")
        return self
