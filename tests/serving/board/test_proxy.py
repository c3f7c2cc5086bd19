"""Readers whom a proxy names: the header counts from the proxy, and from nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session as DatabaseSession
from starlette.testclient import TestClient

from serving.answers.settings import AnswersSettings
from serving.answers.tables import Session
from serving.board.app import create_app
from serving.board.proxy import ProxyAccess
from serving.board.sessions import Sessions
from tests.serving.answers.classroom import NOW
from tests.serving.board.running import opened_copy

NAME = "X-Forwarded-User"


@pytest.fixture
def engine(classroom_database: Path, tmp_path: Path) -> Iterator[Engine]:
    with opened_copy(classroom_database, tmp_path) as opened:
        yield opened


def client(engine: Engine, address: str = "10.1.2.3", **proxy: object) -> TestClient:
    """Returns a client that connects from an address."""
    given = {"trusted": ["10.0.0.0/8", "fd00::/8"], **proxy}
    settings = AnswersSettings.model_validate({"board": {"access": {"proxy": given}}})
    found = settings.board.access.proxy
    assert found is not None
    sessions = Sessions(engine, settings.board.sessions, secure=False)
    access = ProxyAccess(engine, sessions, found, capacity=20)
    app = create_app(engine, settings, access, now=lambda: NOW)
    return TestClient(app, client=(address, 50000), follow_redirects=False)


@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::7", "::ffff:10.1.2.3"])
def test_the_proxy_names_the_reader(engine: Engine, address: str) -> None:
    response = client(engine, address).get("/worklist", headers={NAME: "ada"})

    assert response.status_code == 200
    assert "Ada" in response.text
    assert "set-cookie" not in response.headers  # the login is the proxy's


@pytest.mark.parametrize(
    "address", ["11.1.2.3", "127.0.0.1", "fe80::1", "::ffff:192.168.1.1", "testclient", ""]
)
def test_the_header_of_anybody_else_says_nothing(engine: Engine, address: str) -> None:
    headers = {NAME: "root", "X-Forwarded-For": "10.1.2.3", "Forwarded": "for=10.1.2.3"}
    response = client(engine, address).get("/worklist", headers=headers)

    assert response.status_code == 303
    assert response.headers["location"].startswith("/login")


def test_two_names_are_no_name(engine: Engine) -> None:
    """One of them may be the client's own, which the proxy has let pass."""
    for names in (("root", "ada"), ("ada", "ada"), ("",)):
        headers = [(NAME, name) for name in names]
        assert client(engine).get("/worklist", headers=headers).status_code == 303


def test_another_header_is_not_read(engine: Engine) -> None:
    own = client(engine, header="Remote-User")
    assert own.get("/worklist", headers={NAME: "root"}).status_code == 303
    assert own.get("/worklist", headers={"remote-user": "ada"}).status_code == 200


def test_somebody_whom_the_board_does_not_know_learns_what_to_do(engine: Engine) -> None:
    response = client(engine).get("/worklist", headers={NAME: "<b>eve</b>"})

    assert response.status_code == 403
    assert "You are logged in as &lt;b&gt;eve&lt;/b&gt;" in response.text
    with DatabaseSession(engine) as session:
        assert session.scalars(select(Session)).all() == []


def test_forms_carry_a_token_of_the_user(engine: Engine) -> None:
    browser = client(engine, logout_url="https://login.example.org/logout")

    def token(user: str) -> str:
        page = browser.get("/worklist", headers={NAME: user}).text
        return page.split('name="csrf" value="')[1].split('"')[0]

    ada, max_ = token("ada"), token("max")
    assert ada == token("ada") != max_
    for sent, status in ((None, 403), (max_, 403), (ada, 200)):
        data = {} if sent is None else {"csrf": sent}
        response = browser.post("/logout", data=data, headers={NAME: "ada"})
        assert response.status_code == status
    assert 'href="https://login.example.org/logout"' in response.text


def test_no_cookie_stands_for_a_user_of_the_proxy(engine: Engine) -> None:
    """The rows of the tokens are in the table of logins, and must not be one."""
    client(engine).get("/worklist", headers={NAME: "ada"})
    with DatabaseSession(engine) as session:
        (key,) = session.scalars(select(Session.token_hash))
    sessions = Sessions(engine, AnswersSettings().board.sessions, secure=False)
    request = type("Request", (), {"cookies": {}})()
    for token in (key, key.removeprefix("proxy "), "proxy ada", "ada", ""):
        request.cookies = {sessions.cookie: token}
        assert sessions.find(request) is None


def test_the_page_for_logging_in_says_who_does_it(engine: Engine) -> None:
    response = client(engine).get("/login")
    assert response.status_code == 401
    assert "logs you in" in response.text
