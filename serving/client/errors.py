"""What can go wrong between a client and a server."""

from __future__ import annotations

from components.errors import MasteryError


class PredictError(MasteryError):
    """The server could not be asked, or did not answer as a model of ours does."""


class Transient(Exception):
    """The server may answer if it is asked again.

    Attributes:
        after: seconds that the server wants to be left alone, 0 where it has no wish.
    """

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after
