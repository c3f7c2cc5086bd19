"""Who may see the board, in which role, and which groups."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.board.rendering import render

PAGE = 50  # users on one page


def show(request: Request) -> Response:
    """Returns the list, with the groups of each user."""
    visible = request.state.visible
    users, memberships, groups = visible.users, visible.memberships, visible.groups
    page = _page_number(request.query_params.get("page"))
    order = (users.name, users.user)

    with Session(request.app.state.engine) as session:
        found = session.scalars(
            select(users).order_by(*order).offset((page - 1) * PAGE).limit(PAGE + 1)
        ).all()
        shown = found[:PAGE]
        names: dict[str, list[str]] = {}
        rows = session.execute(
            select(memberships.user, groups.name)
            .join(groups, groups.group_id == memberships.group_id)
            .where(memberships.user.in_([user.user for user in shown]))
            .order_by(groups.name)
        )
        for user, name in rows:
            names.setdefault(user, []).append(name)

    return render(
        request, "people.html.j2", users=shown, groups_of=names, page=page,
        has_more=len(found) > PAGE,
    )  # fmt: skip


def _page_number(text: str | None) -> int:
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) < 7
    return max(1, int(text)) if is_number and text else 1


ROUTES = [Route("/people", show)]
