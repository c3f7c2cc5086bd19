"""Errors as pages in the reader's language, which say what to do and nothing of the inside."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serving.board.rendering import render

Reason = Literal["origin", "token", "role", "unknown user", "login"]
WITH_DETAIL = (400, 409, 422)  # the page that raised one of them says what is wrong


class Refused(HTTPException):
    """A request that is understood and not answered.

    Attributes:
        reason: chooses the text.
        user: the name that nobody knows, for `unknown user`.
    """

    def __init__(self, reason: Reason, user: str = "", *, status_code: int = 403) -> None:
        super().__init__(status_code)
        self.reason = reason
        self.user = user


def show_error(request: Request, error: Exception) -> Response:
    """Returns the page of an error that a page raised."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = ""
    if isinstance(error, HTTPException) and status in WITH_DETAIL:
        detail = "" if error.detail == HTTPStatus(status).phrase else error.detail

    response = render(
        request,
        "error.html.j2",
        status_code=status,
        status=status,
        reason=error.reason if isinstance(error, Refused) else "",
        user=error.user if isinstance(error, Refused) else "",
        detail=detail,
    )
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return response


def refuse_permission(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Returns the page for one who asked for a table that only others may see."""
    return show_error(request, Refused("role"))
