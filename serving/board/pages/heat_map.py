"""The heat map: learners by unit and by knowledge component."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.board.rendering import render


def show(request: Request) -> Response:
    """Returns the page."""
    return render(request, "heat_map.html.j2")


ROUTES = [Route("/map", show)]
