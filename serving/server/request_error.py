"""The refusal of a request: one code for both protocols, and a reason for the caller."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from grpc import StatusCode

from components.command.escape import shorten

QUOTED = 200  # characters of a caller's text that an answer or a line of the log repeats

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
    StatusCode.CANCELLED: 499,  # the client has gone; nginx logs the same code
}


class RequestError(Exception):
    """A refused or failed request.

    Attributes:
        code: status code of gRPC.
        reason: what was expected and what was found, for the caller.
        http_status: status code of HTTP with the same meaning, or a more specific one; 500 if only
            the server's operator can fix the cause.
    """

    def __init__(self, code: StatusCode, reason: str, http_status: int | None = None) -> None:
        super().__init__(code, reason, http_status)  # makes the error picklable
        self.code = code
        self.reason = reason
        self.http_status = int(http_status or _HTTP.get(code, HTTPStatus.INTERNAL_SERVER_ERROR))

    def __str__(self) -> str:
        return self.reason


def invalid(reason: str) -> RequestError:
    """Returns the error for a request that is wrong in itself and should not be retried."""
    return RequestError(StatusCode.INVALID_ARGUMENT, reason)


def quoted(text: str, most: int = QUOTED) -> str:
    """Returns a caller's text in quotation marks, shortened: callers choose its length.

    >>> quoted("sample"), quoted("a" * 500, most=5)
    ("'sample'", "'aaaa…'")
    """
    return repr(shorten(text, most))


def listed(items: Sequence[str], *, separator: str = ", ", most: int = 10) -> str:
    """Returns a list as text, shortened: callers choose its length.

    >>> listed(["a", "b", "c"], most=2)
    'a, b, and 1 more'
    >>> listed([])
    'none'
    """
    texts = [shorten(item, QUOTED) for item in items[:most]]
    if len(items) > most:
        texts.append(f"and {len(items) - most} more")
    return separator.join(texts) or "none"
