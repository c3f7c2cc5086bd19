"""Versions are approved on the board, by those who may, and never in a demonstration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import lxml.html
import pytest
from sqlalchemy import Engine

from components.contracts.serving_state import ApprovalPolicy
from serving.answers.settings import AnswersSettings, load_settings
from serving.board.access import DemoAccess
from serving.board.app import create_app
from serving.board.serve import Place, make_board
from serving.models import promotion
from serving.models.approval_policy import set_policy
from serving.models.changes import RefusedError, read_entries
from serving.models.stores import open_storage
from tests.serving.answers import classroom
from tests.serving.board.pages_of import VIEWERS, text_of
from tests.serving.board.running import serving
from tests.serving.models.folders import write_version


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A serving folder with two versions that need an approval; Max pushed the second."""
    folder = tmp_path / "serving"
    for number, pusher in ((1, "ann@laptop"), (2, "max@github")):
        write_version(folder, number)
        path = folder / str(number) / "manifest.json"
        manifest = json.loads(path.read_text()) | {"pushed_by": pusher}
        path.write_text(json.dumps(manifest))
    policy = ApprovalPolicy(needed=1, roles=("manager", "admin"))
    set_policy(open_storage(str(folder)), policy, "as the school decided")
    return folder


@contextmanager
def board(engine: Engine, models: Path | None, user: str) -> Iterator[httpx.Client]:
    """Opens the board for a user of the classroom."""
    content: dict[str, Any] = {"board": {"models": str(models) if models else None}}
    settings = AnswersSettings.model_validate(content)
    app = create_app(engine, settings, DemoAccess(VIEWERS[user]), now=lambda: classroom.NOW)
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def send(client: httpx.Client, **form: str) -> httpx.Response:
    return client.post("/approvals", data={"csrf": "token", **form}, follow_redirects=True)


def section(page: str, version: int) -> Any:
    [found] = lxml.html.fromstring(page).xpath(f"//section[.//h2[@id='version-{version}']]")
    return found


def test_a_version_is_approved_and_taken_back_on_the_board(database: Engine, models: Path) -> None:
    storage = open_storage(str(models))
    with board(database, models, "max") as client:
        assert "0 of 1" in text_of(section(client.get("/approvals").text, 1))
        answer = send(client, version="1", decision="approve", reason="read the report")
        assert answer.status_code == 200
        assert "1 of 1" in text_of(section(answer.text, 1))
        assert "max (on this board, as Manager" in text_of(section(answer.text, 1))
        entry = read_entries(storage)[-1]
        assert entry.approval is not None
        assert (entry.who, entry.approval.by, entry.approval.role) == (
            "max (board)",
            "max",
            "manager",
        )
        assert entry.reason == "read the report"

        answer = send(client, version="1", decision="revoke", reason="a mistake")
        assert "0 of 1" in text_of(section(answer.text, 1))
        with pytest.raises(RefusedError, match="version 1 is not approved"):
            promotion.promote(storage, 1)
        send(client, version="1", decision="approve", reason="fine after all")
    assert promotion.promote(storage, 1) is not None


def test_who_pushed_a_version_does_not_approve_it(database: Engine, models: Path) -> None:
    with board(database, models, "max") as client:
        pushed = section(client.get("/approvals").text, 2)
        assert "You pushed this version, so others approve it." in text_of(pushed)
        assert not pushed.xpath(".//form")
        answer = send(client, version="2", decision="approve", reason="mine")
        assert answer.status_code == 409
        assert "max@github pushed the version" in answer.text
    assert len(read_entries(open_storage(str(models)))) == 1  # the policy
    with board(database, models, "root") as client:
        answer = send(client, version="2", decision="approve", reason="fine")
        assert "1 of 1" in text_of(section(answer.text, 2))


def test_roles_that_do_not_approve_cannot(database: Engine, models: Path) -> None:
    set_policy(open_storage(str(models)), ApprovalPolicy(needed=1), "administrators only")
    with board(database, models, "max") as client:
        assert "Your role does not approve" in text_of(section(client.get("/approvals").text, 1))
        assert send(client, version="1", decision="approve", reason="x").status_code == 409
    with board(database, models, "ada") as client:  # a teacher has no such page at all
        assert client.get("/approvals").status_code == 403
        assert send(client, version="1", decision="approve", reason="x").status_code == 403


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"version": "1", "reason": " "}, 422),
        ({"version": "../1", "reason": "x"}, 422),
        ({"version": "7", "reason": "x"}, 409),
        ({"version": "1", "reason": "x", "csrf": "another"}, 403),
    ],
)
def test_what_makes_no_sense_is_refused(
    database: Engine, models: Path, form: dict[str, str], status: int
) -> None:
    with board(database, models, "root") as client:
        assert send(client, decision="approve", **form).status_code == status
    assert len(read_entries(open_storage(str(models)))) == 1


def test_without_a_serving_folder_the_page_says_so(database: Engine) -> None:
    with board(database, None, "root") as client:
        assert "board.models" in client.get("/approvals").text
        assert send(client, version="1", decision="approve", reason="x").status_code == 404
        assert "/approvals" not in client.get("/groups").text


def test_a_demonstration_approves_nothing(database: Engine, models: Path) -> None:
    settings = AnswersSettings.model_validate({"board": {"models": str(models)}})
    app = make_board(database, settings, Place("127.0.0.1", 0, demo=True), {})
    assert app.state.settings.board.models is None


def test_the_folder_counts_from_the_settings(tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text("board: {models: serving}\n")
    assert load_settings(tmp_path / "answers.yaml").board.models == str(tmp_path / "serving")


@pytest.mark.parametrize(("language", "word"), [("de", "Freigeben"), ("zh", "批准")])
def test_the_page_is_in_the_reader_s_language(
    database: Engine, models: Path, language: str, word: str
) -> None:
    with board(database, models, "root") as client:
        page = client.get("/approvals", headers={"accept-language": language}).text
    assert word in text_of(section(page, 1))
