"""One call to a server: the model that is called, how often to try, and the errors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from components.errors import MasteryError

Result = TypeVar("Result")

# Whom the rows of a request are about: a name for each, separated by commas, or one for all.
LEARNER_HEADER = "x-learner"


class PredictError(MasteryError):
    """The server did not answer, refused the request, or sent something other than predictions."""


class Transient(Exception):
    """The server may answer if it is called again.

    Attributes:
        after: seconds that the server asks to wait; 0 if it does not say.
    """

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class Target:
    """A model, and maybe one of its versions.

    Attributes:
        model: its name.
        version: number of a version; None for the server's choice, the highest it has loaded.
        label: a version label such as `stable` or `canary`, instead of a number.

    Raises:
        MasteryError: both a version and a label are given.

    >>> Target("sample", label="stable").describe()
    'model sample, label stable'
    """

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise MasteryError(
                f"expected a version or a label, found both: version {self.version}, "
                f"label {self.label}."
            )

    def describe(self) -> str:
        """Returns the model in words."""
        if self.version is not None:
            return f"model {self.model}, version {self.version}"
        return f"model {self.model}, label {self.label}" if self.label else f"model {self.model}"


@dataclass(frozen=True)
class Retry:
    """How often and how long to try.

    Attributes:
        attempts: requests for one answer, at most.
        deadline: seconds from the first request, for all attempts and waits together.
        first_wait: seconds before the second request; each further wait is twice as long. Half of
            a wait is random, so that the clients of a restarted server do not all come at once.
        longest_wait: seconds.

    >>> Retry(attempts=2, deadline=5.0).call(lambda seconds: f"{seconds:.0f} s left")
    '5 s left'
    """

    attempts: int = 5
    deadline: float = 10.0
    first_wait: float = 0.1
    longest_wait: float = 2.0

    def call(
        self,
        request: Callable[[float], Result],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Result:
        """Returns what `request` returns; calls it again whenever it raises Transient.

        Args:
            request: takes the seconds that are left for it.
            sleep: waits for a number of seconds.
            clock: returns seconds since any fixed moment.

        Raises:
            PredictError: no attempts or no time are left; says what the server answered last.
        """
        end = clock() + self.deadline
        for attempt in range(1, self.attempts + 1):
            try:
                return request(max(end - clock(), 0.001))
            except Transient as error:
                wait = max(self._wait(attempt), error.after)
                if attempt == self.attempts or clock() + wait >= end:
                    tried = "once" if attempt == 1 else f"{attempt} times"
                    raise PredictError(
                        f"{error} Tried {tried} within a deadline of {self.deadline:g} s; "
                        "is the server up, and is the address right?"
                    ) from error
            sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, attempt: int) -> float:
        full = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1))
        return full * random.uniform(0.5, 1.0)
