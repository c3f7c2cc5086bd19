"""Which roles a page is for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

Page = Callable[[Request], Response]


def for_managers(page: Page) -> Page:
    """Returns a page that managers and admins see; others are refused."""

    @wraps(page)
    def refuse_others(request: Request) -> Response:
        if request.state.viewer.role not in ("manager", "admin"):
            raise HTTPException(403)
        return page(request)

    return refuse_others
