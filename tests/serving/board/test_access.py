"""What stands before every page: hosts, sizes, tokens, languages, errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from starlette.routing import Route
from starlette.testclient import TestClient

from components.errors import MasteryError
from serving.answers.settings import AnswersSettings, load_settings
from serving.board.access import local_path
from serving.board.app import create_app
from serving.board.demo import DemoLogin
from serving.board.forms import MOST_BYTES
from serving.board.rendering import language_of
from serving.board.serve import BoardError, Place, make_board
from serving.board.sessions import Sessions
from tests.serving.answers.classroom import NOW
from tests.serving.board.running import RunningBoard, opened_copy


@pytest.fixture
def engine(classroom_database: Path, tmp_path: Path) -> Iterator[Engine]:
    with opened_copy(classroom_database, tmp_path) as opened:
        yield opened


def settings_of(**board: Any) -> AnswersSettings:
    return AnswersSettings.model_validate({"board": board})


def test_a_board_by_https_binds_cookies_to_its_host(engine: Engine) -> None:
    settings = settings_of(public_url="https://board.example.org")
    sessions = Sessions(engine, settings.board.sessions, secure=True)
    app = create_app(engine, settings, DemoLogin(engine, sessions, capacity=20), now=lambda: NOW)
    with TestClient(app, base_url="https://board.example.org") as client:
        response = client.get("/login")

    assert response.headers["strict-transport-security"] == "max-age=63072000"
    name, _, rest = response.headers["set-cookie"].partition("=")
    assert name == "__Host-mastery"
    flags = {flag.strip().lower() for flag in rest.split(";")[1:]}
    assert flags == {"httponly", "secure", "samesite=lax", "path=/"}


def test_a_cookie_without_https_is_for_this_machine(board: RunningBoard) -> None:
    response = httpx.get(f"{board.url}/login")

    name, _, rest = response.headers["set-cookie"].partition("=")
    assert name == "mastery"
    assert "httponly" in rest.lower()
    assert "samesite=lax" in rest.lower()
    assert "secure" not in rest.lower()


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1.example.org", "[", "", "localhost@example.org"]
)
def test_other_names_are_not_answered(board: RunningBoard, host: str) -> None:
    """A page of another site that lets its own name lead to this machine reads nothing."""
    with board.client("ada") as client:
        response = client.get("/worklist", headers={"Host": host})
        assert response.status_code == 400
        assert "Learner" not in response.text
        assert client.get("/health", headers={"Host": host}).status_code == 200  # for probes


def test_large_forms_are_refused_before_they_are_read(board: RunningBoard) -> None:
    with board.client("ada") as client:
        response = client.post("/logout", data={"note": "x" * MOST_BYTES})
        assert response.status_code == 413
        assert "too large" in response.text

        def chunks() -> Iterator[bytes]:
            for _ in range(100):
                yield b"x" * 2**10

        assert client.post("/logout", content=chunks()).status_code == 413
        many = {f"field{number}": (None, "1") for number in range(500)}
        token = client.headers.pop("X-CSRF-Token")
        form = {"csrf": (None, token), **many}
        assert client.post("/logout", files=form).status_code == 400
        assert client.get("/worklist").status_code == 200  # still logged in


def test_a_form_that_cannot_be_read_is_refused(board: RunningBoard) -> None:
    with board.client("ada") as client:
        client.headers.pop("X-CSRF-Token")
        for kind, body in (
            ("multipart/form-data", b"--x"),
            ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: x\r\n\r\n"),
            ("application/json", b'{"csrf": 1}'),
            ("application/x-www-form-urlencoded", b"csrf=%ff%fe"),
        ):
            response = client.post("/logout", content=body, headers={"Content-Type": kind})
            assert response.status_code in (400, 403), kind
        assert client.get("/worklist").status_code == 200


def test_methods_and_paths_that_do_not_exist(board: RunningBoard) -> None:
    with board.client("ada") as client:
        assert client.put("/worklist").status_code == 405
        assert client.get("/logout").status_code == 405
        missing = client.get("/nothing")
        assert missing.status_code == 404
        assert "There is no such page" in missing.text
        assert client.get("/static/../app.py").status_code == 404
        assert client.get("/static/%2e%2e/app.py").status_code == 404
        assert client.get("/language/fr").status_code == 404


def test_an_error_of_ours_is_a_page_without_its_inside(engine: Engine) -> None:
    def fails(request: object) -> None:  # noqa: ARG001
        raise RuntimeError("a secret of the inside")

    settings = settings_of()
    sessions = Sessions(engine, settings.board.sessions, secure=False)
    access = DemoLogin(engine, sessions, capacity=20)
    app = create_app(engine, settings, access, now=lambda: NOW)
    app.router.routes.append(Route("/fails", fails))
    with TestClient(app, raise_server_exceptions=False) as client:
        client.cookies.set(sessions.cookie, sessions.begin("ada").token)
        response = client.get("/fails", headers={"Accept-Language": "de"})

    assert response.status_code == 500
    assert "Etwas ist schiefgegangen" in response.text
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["cache-control"] == "no-store"


def test_htmx_is_told_to_load_the_page_again_when_the_login_has_ended(board: RunningBoard) -> None:
    response = httpx.get(f"{board.url}/worklist", headers={"HX-Request": "true"})

    assert response.status_code == 401
    assert response.headers["hx-refresh"] == "true"
    assert response.text == ""


def test_choosing_a_user_needs_the_token_of_the_page(board: RunningBoard) -> None:
    with board.client() as client:
        assert client.post("/login", data={"user": "root"}).status_code == 403
        page = client.get("/login?next=/map").text
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        before = client.cookies[board.sessions.cookie]
        data = {"user": "root", "next": "/map", "csrf": csrf}
        assert client.post("/login", data={**data, "user": "eve"}).status_code == 400
        response = client.post("/login", data=data)
        assert (response.status_code, response.headers["location"]) == (303, "/map")
        assert client.cookies[board.sessions.cookie] != before
        assert client.get("/people").status_code == 200

        # The token of the page before is not the login's.
        stale = client.post("/logout", data={"csrf": csrf})
        assert stale.status_code == 403
        assert "The form was open for too long" in stale.text


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"), ("zh-Hans-CN", "zh"), ("zh-TW;q=0.5,fr", "zh"),
        ("fr,es", "en"), ("en;q=0.1,de;q=0.9", "de"), ("de;q=0,en", "en"), ("", "en"),
        ("de;q=x,zh", "zh"), (";;,,;q=", "en"), ("de" * 600, "en"), ("*", "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_browsers(header: str, expected: str) -> None:
    assert language_of(requested({"accept-language": header})) == expected


@given(st.text(alphabet="dezhn-_;q=.,0129*einaf ", max_size=60))
def test_any_header_gives_a_language(header: str) -> None:
    assert language_of(requested({"accept-language": header})) in ("en", "de", "zh")


def requested(headers: dict[str, str]) -> Any:
    from starlette.requests import Request

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


def test_the_language_chosen_on_the_page_wins(board: RunningBoard) -> None:
    with board.client("ada") as client:
        client.headers["Accept-Language"] = "de"
        assert '<html lang="de">' in client.get("/worklist").text
        chosen = client.get("/language/zh?next=/map%3Funit%3Dunit-1")
        assert (chosen.status_code, chosen.headers["location"]) == (303, "/map?unit=unit-1")
        assert '<html lang="zh">' in client.get("/map").text
        other = client.get("/language/en?next=//example.org")
        assert other.headers["location"] == "/"


@given(st.text(max_size=40))
def test_a_local_path_is_of_this_site(text: str) -> None:
    for wanted in (text, f"/{text}", f"//{text}", f"/\\{text}", f"/\t/{text}"):
        path = local_path(wanted)
        assert path.startswith("/")
        assert not path.startswith(("//", "/\\"))
        assert path.isprintable()
        assert urlsplit(path).netloc == ""


@pytest.mark.parametrize(
    ("place", "board", "expected"),
    [
        (Place("127.0.0.1", 0), {}, "board.access.proxy or board.access.oidc"),
        (Place("0.0.0.0", 0, demo=True), {}, "--demo lets everybody be every user"),
        (Place("0.0.0.0", 0), {"access": {"proxy": {"trusted": ["10.0.0.0/8"]}}},
         "set board.public_url"),
        (Place("10.0.0.1", 0), {"public_url": "http://board.example.org"}, "set board.public_url"),
        (Place("127.0.0.1", 0),
         {"access": {"oidc": {"issuer": "https://a.example", "client_id": "board",
                              "client_secret_env": "BOARD_SECRET"}}}, "$BOARD_SECRET"),
    ],
)  # fmt: skip
def test_a_board_that_would_be_open_does_not_start(
    engine: Engine, place: Place, board: dict[str, Any], expected: str
) -> None:
    with pytest.raises(BoardError, match=r".") as error:
        make_board(engine, settings_of(**board), place, {})
    assert expected in str(error.value)


def test_a_board_behind_tls_answers_to_its_names(engine: Engine) -> None:
    settings = settings_of(
        access={"proxy": {"trusted": ["0.0.0.0/0"]}},
        public_url="https://Board.example.org/",
        hosts=["board.svc"],
    )
    app = make_board(engine, settings, Place("0.0.0.0", 0), {})
    with TestClient(app, client=("10.0.0.1", 1), follow_redirects=False) as client:
        for host, status in (
            ("board.example.org", 200), ("board.svc:8600", 200), ("localhost", 200),
            ("example.org", 400), ("0.0.0.0", 400),
        ):  # fmt: skip
            headers = {"Host": host, "X-Forwarded-User": "ada"}
            assert client.get("/worklist", headers=headers).status_code == status, host


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("board: {access: {proxy: {trusted: [10.0.0.1/8]}}}", "expected a network"),
        ("board: {access: {proxy: {trusted: []}}}", "trusted"),
        ("board: {access: {proxy: {trusted: [10.0.0.0/8]}, oidc: {issuer: 'https://a', "
         "client_id: b}}}", "expected either proxy or oidc"),
        ("board: {access: {oidc: {issuer: 'http://a.example', client_id: b}}}", "https://"),
        ("board: {public_url: 'https://a.example/board'}", "without a path"),
        ("board: {public_url: a.example}", "https://board.example.org"),
        ("board: {time_zone: Europe/Atlantis}", "Europe/Berlin"),
        ("board: {acces: {}}", "did you mean"),
    ],
)  # fmt: skip
def test_wrong_settings_are_explained(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(MasteryError) as error:
        load_settings(file)
    assert expected in str(error.value)
    assert "line 1" in str(error.value)


def test_days_are_those_of_the_boards_time_zone() -> None:
    from serving.board.rendering import _environment

    template = "{{ now | day }} {{ now | moment }}"
    late = NOW.replace(hour=23, minute=30)
    shown = {
        zone: _environment("en", zone).from_string(template).render(now=late)
        for zone in ("UTC", "Asia/Shanghai")
    }
    assert shown["UTC"].startswith("Mar 2, 2026")
    assert shown["Asia/Shanghai"].startswith("Mar 3, 2026")
    assert "7:30" in shown["Asia/Shanghai"]
