"""For managers: whether naming learners changes what becomes of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.answers.effect.cases import Sources
from serving.answers.effect.report import report_effect
from serving.board.rendering import render

GROUPS = 50  # on the page; `mastery effect` lists all


def show(request: Request) -> Response:
    """Returns the page, about learners of the viewer's groups; it names none of them."""
    visible, settings = request.state.visible, request.app.state.settings
    with Session(request.app.state.engine) as session:
        versions = visible.model_versions
        newest = select(versions.model, versions.classes).order_by(versions.id.desc()).limit(1)
        found = session.execute(newest).one_or_none()
        if found is None:
            return render(request, "effect.html.j2", report=None)
        report = report_effect(
            session, settings.effect, found.classes, name=found.model,
            now=request.app.state.now(), sources=_sources(visible),
        )  # fmt: skip
    return render(request, "effect.html.j2", report=report, groups=report.groups[:GROUPS])


ROUTES = [Route("/effect", show)]


def _sources(visible: Any) -> Sources:
    return Sources(
        assignments=visible.assignments,
        outcomes=visible.outcomes,
        actions=visible.actions,
        groups=visible.groups,
        versions=visible.model_versions,
    )
