"""Asks another version the same questions, after its own answers have been returned.

A copy of some requests goes to another version or label, from a thread of its own with a connection
of its own. Its answers are handed to a function, and never returned. Whatever becomes of them, the
client's own answers neither wait nor fail: where copies wait already, further ones are dropped.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from components.contracts.names import EXAMPLES, SERVING_DEFAULT
from components.errors import MasteryError
from serving.client.answers import Answer, parse_answers

if TYPE_CHECKING:
    from serving.client.model_client import Transport

log = logging.getLogger("mastery.client")

CLOSE_SECONDS = 2.0  # for the copies that wait when the client is closed


@dataclass(frozen=True)
class ShadowedAnswer:
    """An answer that was returned, and what the other version said.

    Attributes:
        input_hash: SHA-256 of the example, in hexadecimal, as the prediction log has it.
        learner: the learner's name, if the caller gave it.
        returned: the answer that was returned.
        shadow: the other version's.
    """

    input_hash: str
    learner: str | None
    returned: Answer
    shadow: Answer


@dataclass(frozen=True)
class Shadow:
    """Which requests are copied, and where to.

    Attributes:
        log: takes each answer of the other version; it is called in another thread.
        label: the other version's label, such as `canary`.
        version: or its number.
        share: share of the learners, or of the examples where no learners are given; always the
            same ones.
        most_waiting: requests that wait to be copied; further ones are dropped.
        timeout: seconds that the other version has for an answer.

    Raises:
        MasteryError: the share is none, or neither a version nor a label is given, or both.
    """

    log: Callable[[ShadowedAnswer], None]
    label: str | None = None
    version: int | None = None
    share: float = 1.0
    most_waiting: int = 64
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if (self.version is None) == (self.label is None):
            raise MasteryError("shadow: expected either a version or a label of it.")
        if not 0 < self.share <= 1:
            raise MasteryError(
                f"shadow: expected a share above 0 and at most 1, found {self.share:g}."
            )

    def takes(self, key: str) -> bool:
        """Returns whether the requests of a learner, or of an example, are copied.

        >>> shadow = Shadow(print, label="canary", share=0.5)
        >>> [shadow.takes(name) for name in ("ann", "ben", "cleo", "dan")]
        [False, True, True, False]
        """
        digest = sha256(f"shadow {key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64


@dataclass
class ShadowTally:
    """What became of copies: numbers of examples.

    Attributes:
        answered: whose answers were handed on.
        failed: that the other version did not answer, or whose answer was not taken.
        dropped: that were not sent, because too many waited.
    """

    answered: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class _Copy:
    examples: list[bytes]
    hashes: list[str]
    learners: list[str | None]
    answers: list[Answer] = field(repr=False)


class ShadowCopies:
    """Sends the copies.

    Attributes:
        tally: what became of them.
    """

    def __init__(self, shadow: Shadow, transport: Transport) -> None:
        """Starts the thread.

        Args:
            shadow: which requests are copied.
            transport: a connection of its own to the other version.
        """
        self.tally = ShadowTally()
        self._shadow = shadow
        self._transport = transport
        self._waiting: queue.Queue[_Copy | None] = queue.Queue(shadow.most_waiting)
        self._is_failing = False
        self._thread = threading.Thread(target=self._send_all, name="shadow", daemon=True)
        self._thread.start()

    def offer(
        self,
        examples: Sequence[bytes],
        learners: Sequence[str] | None,
        answers: Sequence[Answer],
    ) -> None:
        """Copies a request that has been answered, or drops it; never waits."""
        hashes = [sha256(example).hexdigest() for example in examples]
        keys = hashes if learners is None else learners
        places = [place for place, key in enumerate(keys) if self._shadow.takes(key)]
        if not places:
            return
        copy = _Copy(
            [examples[place] for place in places],
            [hashes[place] for place in places],
            [None if learners is None else learners[place] for place in places],
            [answers[place] for place in places],
        )
        try:
            self._waiting.put_nowait(copy)
        except queue.Full:
            self.tally.dropped += len(places)

    def close(self) -> None:
        """Sends what waits, but not for long, and closes the connection."""
        try:
            self._waiting.put(None, timeout=CLOSE_SECONDS)
            self._thread.join(CLOSE_SECONDS)
        except queue.Full:
            pass
        self._transport.close()

    def _send_all(self) -> None:
        while (copy := self._waiting.get()) is not None:
            try:
                self._send(copy)
                self._is_failing = False
            except Exception as error:  # whatever it is, the answers have been returned
                self.tally.failed += len(copy.examples)
                if not self._is_failing:
                    log.warning("No answers in the shadow: %s", error)
                self._is_failing = True

    def _send(self, copy: _Copy) -> None:
        inputs: Mapping[str, Sequence[Any]] = {EXAMPLES: copy.examples}
        outputs = self._transport.call(SERVING_DEFAULT, inputs, self._shadow.timeout)
        answers = parse_answers(outputs, len(copy.examples))
        rows = zip(copy.hashes, copy.learners, copy.answers, answers, strict=True)
        for input_hash, learner, returned, shadow in rows:
            self._shadow.log(ShadowedAnswer(input_hash, learner, returned, shadow))
        self.tally.answered += len(answers)
