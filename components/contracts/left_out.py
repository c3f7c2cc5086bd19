"""`left-out.json`: learners who opted out or were erased; neither trained with nor scored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from components.contracts.contract import Contract, ContractError, Part
from components.errors import ConfigError

Reason = Literal["opted out", "erased"]


class LeftOutLearner(Part):
    """One learner, by a digest of the id.

    Attributes:
        digest: HMAC-SHA256 of the id with the list's salt, in hexadecimal.
        reason: why.
        at: when the learner was added.
    """

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    reason: Reason
    at: AwareDatetime


class LeftOutList(Contract):
    """Learners who are left out of training and scoring.

    The file holds no ids, so it may stay when everything else about a learner is gone. Whoever has
    the file and guesses an id can check the guess, so it is as confidential as the log.

    >>> known = LeftOutList.empty().adding(["ann"], "opted out")
    >>> known.holds("ann"), known.holds("ben")
    (True, False)

    Attributes:
        salt: of all digests in the file, in hexadecimal; two lists have nothing in common.
        learners: in the order in which they were added, each once.
    """

    FILE: ClassVar[str] = "left-out.json"

    salt: str = Field(pattern=r"^[0-9a-f]{32,}$")
    learners: list[LeftOutLearner] = []

    @classmethod
    def empty(cls) -> LeftOutList:
        """Returns a list of nobody, with a salt of its own."""
        return cls(salt=secrets.token_hex(16))

    @property
    def digests(self) -> frozenset[str]:
        """The digests of all learners."""
        return frozenset(learner.digest for learner in self.learners)

    def digest(self, learner: str) -> str:
        """Returns the digest of an id."""
        key = bytes.fromhex(self.salt)
        return hmac.new(key, learner.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def holds(self, learner: str) -> bool:
        """Returns whether a learner is left out."""
        return self.digest(learner) in self.digests

    def adding(self, learners: Iterable[str], reason: Reason) -> LeftOutList:
        """Returns the list with more learners; an erasure replaces an opt-out, not the reverse."""
        known = {learner.digest: learner for learner in self.learners}
        now = datetime.now(UTC).replace(microsecond=0)
        for digest in map(self.digest, learners):
            if digest not in known or (known[digest].reason, reason) == ("opted out", "erased"):
                known[digest] = LeftOutLearner(digest=digest, reason=reason, at=now)
        return self.model_copy(update={"learners": [*known.values()]})

    def opting_in(self, learners: Iterable[str]) -> LeftOutList:
        """Returns the list without learners who opted out and take part again; an erasure stays."""
        back = {self.digest(learner) for learner in learners}
        kept = [
            item for item in self.learners if item.digest not in back or item.reason == "erased"
        ]
        return self.model_copy(update={"learners": kept})


def read_left_out(path: str | None, key: str = "data.left_out") -> LeftOutList | None:
    """Returns the list that a key of the configuration names; None without one.

    Raises:
        ConfigError: the file is missing or is not such a list. A missing list is never an empty
            one: that would train with learners who opted out.
    """
    if path is None:
        return None
    try:
        return LeftOutList.read_file(Path(path))
    except ContractError as error:
        raise ConfigError(
            f"{key}: expected the list of learners who are left out. {error} "
            f"`mastery learner opt-out --list {path}` makes one, of nobody at first."
        ) from None
