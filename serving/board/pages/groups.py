"""For managers: groups, regions and courses over time."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.board.rendering import render


def show(request: Request) -> Response:
    """Returns the page."""
    return render(request, "groups.html.j2")


ROUTES = [Route("/groups", show)]
