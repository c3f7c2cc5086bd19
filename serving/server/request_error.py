"""What a request is refused with: one code for both protocols, and a reason."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from grpc import StatusCode

_HTTP = {
    StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    StatusCode.OUT_OF_RANGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    StatusCode.CANCELLED: 499,  # nobody reads it; nginx writes so in its log
}


class RequestError(Exception):
    """A request that is not answered.

    Attributes:
        code: gRPC's status code.
        reason: what was expected and what was found, for the caller.
        http_status: the status code of HTTP that says the same, or says it more closely; 500 for what only
            the server can put right.
    """

    def __init__(self, code: StatusCode, reason: str, http_status: int | None = None) -> None:
        super().__init__(code, reason, http_status)  # so that it can go from process to process
        self.code = code
        self.reason = reason
        self.http_status = int(http_status or _HTTP.get(code, HTTPStatus.INTERNAL_SERVER_ERROR))

    def __str__(self) -> str:
        return self.reason


def listed(items: Sequence[str], *, separator: str = ", ", most: int = 10, size: int = 200) -> str:
    """Returns a list as text, cut to what a caller wants to read: others choose how long it is.

    >>> listed(["a", "b", "c"], most=2)
    'a, b, and 1 more'
    """
    shown = [item[:size] for item in items[:most]]
    if len(items) > most:
        shown.append(f"and {len(items) - most} more")
    return separator.join(shown) or "none"


def invalid(reason: str) -> RequestError:
    """Returns the error for a request that is wrong in itself, whenever it is sent."""
    return RequestError(StatusCode.INVALID_ARGUMENT, reason)
