"""Logins at a real provider of OpenID Connect, and all that can go wrong on the way."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session as DatabaseSession
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serving.answers.settings import AnswersSettings
from serving.answers.tables import Session, User
from serving.board.app import create_app
from serving.board.oidc import OidcLogin
from serving.board.sessions import Sessions
from tests.browser import Problems
from tests.ports import free_port, wait_for_port
from tests.serving.answers.classroom import NOW
from tests.serving.board.running import RunningBoard, opened_copy, serving

SECRET = "client's secret"


@dataclass
class Provider:
    """A provider that runs, and what clients have sent to it."""

    issuer: str
    log: Path

    def requests(self, path: str) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [one for one in map(json.loads, lines) if one["path"] == path]

    def agree(self, address: str, user: str) -> str:
        """Logs a user in at the provider, and returns where it sends the browser back to."""
        response = httpx.post(address, data={"sub": user})
        assert response.status_code == 302, response.text
        return str(response.headers["location"])


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider in a process of its own."""
    folder = tmp_path_factory.mktemp("provider")
    port, output, log = free_port(), folder / "output", folder / "requests"
    log.touch()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.serving.board.provider", str(port), log],
            stdout=file, stderr=file, env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"},
        )  # fmt: skip
    try:
        wait_for_port(port, process, output)
        yield Provider(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait()


class Clock:
    """A time that a test moves on."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 2, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def oidc_board(
    database: Path, folder: Path, issuer: str, clock: Clock, *, claim: str = "sub"
) -> Iterator[RunningBoard]:
    oidc = {"issuer": issuer, "client_id": "board", "client_secret_env": "S", "user_claim": claim}
    settings = AnswersSettings.model_validate({"board": {"access": {"oidc": oidc}}})
    with opened_copy(database, folder) as engine:
        board = settings.board
        sessions = Sessions(engine, board.sessions, secure=False, clock=clock)
        assert board.access.oidc is not None
        access = OidcLogin(
            engine, sessions, board.access.oidc, secret=SECRET, public_url=None, capacity=20
        )
        app = create_app(engine, settings, access, hosts=("127.0.0.1",), now=lambda: NOW)
        with serving(app) as url:
            yield RunningBoard(url, engine, sessions, app)


@pytest.fixture
def board(
    classroom_database: Path, tmp_path: Path, provider: Provider, clock: Clock
) -> Iterator[RunningBoard]:
    """A board whose readers log in at the provider."""
    with oidc_board(classroom_database, tmp_path, provider.issuer, clock) as running:
        yield running


@pytest.fixture
def client(board: RunningBoard) -> Iterator[httpx.Client]:
    """A browser without a page."""
    with board.client() as one:
        yield one


def start(client: httpx.Client, wanted: str = "/map") -> str:
    """Begins a login, and returns the provider's address."""
    response = client.get("/login/start", params={"next": wanted})
    assert response.status_code == 302, response.text
    return str(response.headers["location"])


def log_in(client: httpx.Client, provider: Provider, user: str, wanted: str = "/map") -> None:
    response = client.get(provider.agree(start(client, wanted), user))
    assert (response.status_code, response.headers["location"]) == (303, wanted), response.text


def rows(board: RunningBoard) -> list[Session]:
    with DatabaseSession(board.engine) as session:
        return list(session.scalars(select(Session)))


def test_a_user_logs_in_and_sees_what_the_groups_allow(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    refused = client.get("/map?unit=unit-1")
    login = client.get(refused.headers["location"])
    assert "/login/start?next=/map%3Funit%3Dunit-1" in login.text
    log_in(client, provider, "ada", "/map?unit=unit-1")

    page = client.get("/map")
    assert page.status_code == 200
    assert "Ada" in page.text
    assert client.get("/groups").status_code == 403
    token = client.cookies[board.sessions.cookie]
    assert [row.user for row in rows(board)] == ["ada"]
    assert token not in str([vars(row) for row in rows(board)])  # only its SHA-256 is kept


def test_the_request_is_bound_to_this_browser_and_this_client(
    client: httpx.Client, provider: Provider
) -> None:
    address = start(client)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 20
    assert len(asked["nonce"]) >= 20
    assert client.get(provider.agree(address, "ada")).status_code == 303

    exchange = provider.requests("/oauth2/token")[-1]
    digest = hashlib.sha256(exchange["sent"]["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
    name, secret = base64.b64decode(exchange["authorization"].split()[1]).decode().split(":")
    assert (name, secret) == ("board", SECRET)
    assert SECRET not in address


def test_another_state_is_refused(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    back = provider.agree(start(client), "ada")
    response = client.get(back.replace("state=", "state=x"))

    assert response.status_code == 400
    assert "login did not succeed" in response.text
    assert client.get("/map").status_code == 303
    assert rows(board) == []


def test_another_browser_cannot_finish_a_login(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    back = provider.agree(start(client), "ada")
    with board.client() as other:
        assert other.get(back).status_code == 400
        start(other)  # a login in progress of its own does not help
        assert other.get(back).status_code == 400
        assert other.get("/map").status_code == 303


def test_an_answer_counts_once(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    back = provider.agree(start(client), "ada")
    before = client.cookies[board.sessions.cookie]
    assert client.get(back).status_code == 303
    after = client.cookies[board.sessions.cookie]
    assert before != after  # a login has a token of its own

    with board.client() as other:
        other.cookies.set(board.sessions.cookie, before)
        assert other.get(back).status_code == 400
        fresh = parse_qs(urlsplit(start(other)).query)["state"][0]
        code = parse_qs(urlsplit(back).query)["code"][0]
        replayed = other.get("/login/callback", params={"code": code, "state": fresh})
        assert replayed.status_code == 400
        assert other.get("/map").status_code == 303


def test_an_id_token_of_another_login_is_refused(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    back = provider.agree(start(client), "ada")
    (row,) = rows(board)
    text = json.dumps(row.data)
    nonce = next(
        value["data"]["nonce"] for key, value in row.data.items() if key.startswith("_state_")
    )
    with DatabaseSession(board.engine) as session, session.begin():
        session.execute(update(Session).values(data=json.loads(text.replace(nonce, "other"))))

    assert client.get(back).status_code == 400
    assert client.get("/map").status_code == 303


def test_somebody_whom_the_board_does_not_know_learns_what_to_do(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    response = client.get(provider.agree(start(client), "eve"))

    assert response.status_code == 403
    assert "You are logged in as eve" in response.text
    assert "Ask an administrator" in response.text
    assert client.get("/map").status_code == 303
    assert rows(board) == []


def test_a_user_who_is_removed_is_out_at_once(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    log_in(client, provider, "ada")
    with DatabaseSession(board.engine) as session, session.begin():
        session.execute(delete(User).where(User.user == "ada"))

    assert client.get("/map").status_code == 403
    assert client.get("/map").status_code == 303
    assert rows(board) == []


@pytest.mark.parametrize(("user", "status"), [("ada", 303), ("max", 400)])
def test_an_address_of_mail_counts_if_the_provider_has_verified_it(
    classroom_database: Path,
    tmp_path: Path,
    provider: Provider,
    clock: Clock,
    user: str,
    status: int,
) -> None:
    with oidc_board(
        classroom_database, tmp_path, provider.issuer, clock, claim="email"
    ) as board, board.client() as client:  # fmt: skip
        with DatabaseSession(board.engine) as session, session.begin():
            name = f"{user}@school.example"
            session.add(User(user=name, name="By mail", role="teacher", capacity=None))
        assert client.get(provider.agree(start(client), user)).status_code == status


def test_the_login_is_denied_or_comes_back_with_nothing(client: httpx.Client) -> None:
    start(client)
    assert client.get("/login/callback?error=access_denied&state=x").status_code == 400
    start(client)
    assert client.get("/login/callback").status_code == 400
    assert client.get("/login/callback").status_code == 400


def test_a_login_ends_without_requests_and_after_a_day_of_them(
    client: httpx.Client, provider: Provider, clock: Clock
) -> None:
    log_in(client, provider, "ada")
    for _ in range(12):
        clock.moment += timedelta(minutes=59)  # a request an hour keeps it
        assert client.get("/map").status_code == 200
    clock.moment += timedelta(minutes=13)  # but not beyond twelve hours
    assert client.get("/map").status_code == 303

    log_in(client, provider, "ada")
    clock.moment += timedelta(minutes=61)
    assert client.get("/map").status_code == 303


def test_a_login_in_progress_ends_after_ten_minutes(
    client: httpx.Client, provider: Provider, clock: Clock
) -> None:
    back = provider.agree(start(client), "ada")
    clock.moment += timedelta(minutes=10)
    assert client.get(back).status_code == 400


def test_logging_out_ends_this_login_and_offers_the_providers(
    board: RunningBoard, client: httpx.Client, provider: Provider
) -> None:
    log_in(client, provider, "ada")
    token = client.cookies[board.sessions.cookie]
    with board.client() as elsewhere:
        log_in(elsewhere, provider, "ada")
        response = client.post("/logout", data={"csrf": csrf(client)})
        assert response.status_code == 200
        assert f"{provider.issuer}/oauth2/end_session?" in response.text
        assert 'class="viewer"' not in response.text
        client.cookies.set(board.sessions.cookie, token)
        assert client.get("/map").status_code == 303  # the old token is worth nothing
        assert elsewhere.get("/map").status_code == 200


def test_logging_out_everywhere_ends_all_logins_of_the_user(
    client: httpx.Client, board: RunningBoard, provider: Provider
) -> None:
    log_in(client, provider, "ada")
    with board.client() as elsewhere, board.client() as max_:
        log_in(elsewhere, provider, "ada")
        log_in(max_, provider, "max")
        client.post("/logout", data={"csrf": csrf(client), "everywhere": "1"})
        assert elsewhere.get("/map").status_code == 303
        assert max_.get("/map").status_code == 200


def csrf(client: httpx.Client) -> str:
    page = client.get("/map").text
    return page.split('name="csrf" value="')[1].split('"')[0]


def test_a_provider_of_another_name_or_without_an_answer_is_an_error_of_ours(
    classroom_database: Path, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def impostor(request: Request) -> JSONResponse:
        address = f"{request.base_url}authorize"
        return JSONResponse({"issuer": "https://example.org", "authorization_endpoint": address})

    with serving(Starlette(routes=[Route("/{path:path}", impostor)])) as other:
        for place, issuer in (("a", f"http://127.0.0.1:{free_port()}"), ("b", other)):
            folder = tmp_path / place
            folder.mkdir()
            with oidc_board(classroom_database, folder, issuer, clock) as board:
                response = httpx.get(f"{board.url}/login/start")
            assert response.status_code == 502
            assert "Something went wrong" in response.text
    assert "expected the issuer http://127.0.0.1" in caplog.text
    assert "found https://example.org" in caplog.text


def test_where_a_login_leads_is_a_page_of_the_board(
    client: httpx.Client, provider: Provider
) -> None:
    for wanted in ("//example.org", "https://example.org/", "/\\example.org", "map", "/a\nb"):
        back = provider.agree(start(client, wanted), "ada")
        assert client.get(back).headers["location"] == "/"
        client.cookies.clear()


def test_a_login_in_a_browser(
    board: RunningBoard, browser_page: Page, browser_problems: Problems,
    assert_accessible: Callable[[], None],
) -> None:  # fmt: skip
    browser_page.goto(f"{board.url}/worklist")
    assert_accessible()
    browser_page.get_by_role("link", name="Log in with your organisation").click()
    browser_page.get_by_role("button", name="ada").click()
    expect(browser_page.locator(".viewer summary")).to_have_text("Ada Teacher")
    assert browser_page.url == f"{board.url}/worklist"
    browser_page.locator(".viewer summary").click()
    browser_page.get_by_role("button", name="Log out", exact=True).click()
    expect(browser_page.get_by_role("heading", level=1)).to_have_text("Logged out")
    assert_accessible()
    browser_page.goto(f"{board.url}/worklist")
    expect(browser_page.get_by_role("heading", level=1)).to_have_text("Log in")
    browser_problems.texts = [one for one in browser_problems.texts if one.startswith(board.url)]
