"""For those who approve versions: which ones wait, who approved what, and the form for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from components.errors import MasteryError
from components.model_version.folders import version_number
from serving.board.rendering import render

if TYPE_CHECKING:
    from serving.board.viewer import Viewer
    from serving.models.approvals import GivenApproval
    from serving.models.listing import ListedVersion
    from serving.models.storage import Storage

SHOWN = 20  # versions, the newest
LONGEST_REASON = 500

# Why somebody cannot approve a version.
Obstacle = Literal["role", "means", "pushed", "given", "unknown"]


@dataclass(frozen=True)
class Row:
    """A version, and what the viewer can do about it.

    Attributes:
        version: as `mastery models list` has it.
        obstacle: why the viewer cannot approve it; None if the viewer can.
        own: the viewer's approval; None without one.
    """

    version: ListedVersion
    obstacle: Obstacle | None
    own: GivenApproval | None


def show(request: Request) -> Response:
    """Returns the versions in the serving folder, the newest first."""
    from serving.models.listing import list_versions

    if request.app.state.settings.board.models is None:
        return render(request, "approvals.html.j2", rows=None)
    try:
        listing = list_versions(_open(request))
    except MasteryError as error:
        raise HTTPException(409, str(error)) from None
    viewer = request.state.viewer
    rows = [_row(version, viewer) for version in listing.versions[::-1][:SHOWN]]
    return render(request, "approvals.html.j2", rows=rows, longest=LONGEST_REASON)


async def decide(request: Request) -> Response:
    """Records an approval, or its revocation, and shows the list again."""
    return await run_in_threadpool(_decide, request, await request.form())


ROUTES = [Route("/approvals", show), Route("/approvals", decide, methods=["POST"])]


def _decide(request: Request, form: FormData) -> Response:
    from serving.models.approvals import Approver, approve
    from serving.models.listing import check_version

    storage = _open(request)
    viewer: Viewer = request.state.viewer
    number = version_number(str(form.get("version", "")))
    reason = str(form.get("reason", "")).strip()[:LONGEST_REASON]
    if number is None or not reason:
        raise HTTPException(422)
    approver = Approver(viewer.user, "board", viewer.role)
    try:
        checked = check_version(storage, number)
        approve(storage, checked, approver, reason, revoke=form.get("decision") == "revoke")
    except MasteryError as error:
        raise HTTPException(409, str(error)) from None
    return RedirectResponse("/approvals", 303)


def _open(request: Request) -> Storage:
    """Returns the serving folder that the settings name."""
    from serving.models.stores import open_storage

    address = request.app.state.settings.board.models
    if address is None:
        raise HTTPException(404)
    try:
        return open_storage(address)
    except MasteryError as error:
        raise HTTPException(409, str(error)) from None


def _row(version: ListedVersion, viewer: Viewer) -> Row:
    from serving.models.approvals import person

    status = version.approvals
    own = next((item for item in status.given if person(item.by) == person(viewer.user)), None)
    obstacle: Obstacle | None = None
    if not version.servable or version.model_sha256 is None:
        obstacle = "unknown"
    elif version.pushed_by is not None and person(version.pushed_by) == person(viewer.user):
        obstacle = "pushed"
    elif own is not None and own.why_not is None:
        obstacle = "given"
    elif "board" not in status.accept:
        obstacle = "means"
    elif viewer.role not in status.roles:
        obstacle = "role"
    return Row(version, obstacle, own)
