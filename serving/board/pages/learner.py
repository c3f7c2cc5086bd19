"""One learner: the path through a unit, and what to do next."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.board.rendering import render


def show(request: Request) -> Response:
    """Returns the page."""
    return render(request, "learner.html.j2")


ROUTES = [Route("/learners/{learner_id}", show)]
