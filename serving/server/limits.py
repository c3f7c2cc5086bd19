"""Who may call, and how many at once."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager

from grpc import StatusCode

from serving.server.errors import RequestError


class Admission:
    """Counts the requests under way; belongs to one event loop."""

    def __init__(self, max_requests: int) -> None:
        self._max, self.count = max_requests, 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Lets one request in for the length of the block.

        Raises:
            RequestError: there are too many already.
        """
        if self.count >= self._max:
            raise RequestError(StatusCode.RESOURCE_EXHAUSTED, f"{self.count} requests are under way; try again later.")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


def check_token(token: str | None, authorization: str | None) -> None:
    """Lets a caller pass who presents the token, or everybody where there is none.

    Args:
        token: the server's.
        authorization: value of the header `Authorization`.

    Raises:
        RequestError: no token, or another one.
    """
    if token is None:
        return
    scheme, _, presented = (authorization or "").partition(" ")
    # Compared in a time that does not tell how much of it was right.
    if scheme.lower() != "bearer" or not hmac.compare_digest(presented.strip().encode(), token.encode()):
        raise RequestError(StatusCode.UNAUTHENTICATED, "expected the header 'Authorization: Bearer <token>'.")
