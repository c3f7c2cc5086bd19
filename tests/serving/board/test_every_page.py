"""Every page as every role and as nobody: who sees what, and what every answer carries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from serving.answers.tables import Action, Group, Learner, Membership, ModelVersion
from serving.answers.tables import Session as Login
from serving.board.headers import CONTENT_SECURITY_POLICY
from tests.serving.answers.classroom import NOW
from tests.serving.board.crawl import Crawl, Form, all_routes, route_of
from tests.serving.board.running import USERS, RunningBoard, running_board

OPEN = ("/health", "/ready", "/static/", "/login", "/language/")
# A document of a run has scripts of its own, in a sandbox.
SANDBOXED = re.compile(r"sandbox(?! allow-same-origin)")
# Pages without a link to them: for machines, with every page's own address in them, or with a
# setting that this board has not.
UNLINKED = {"GET /language/{language}", "GET /watch", "GET /approvals", "POST /approvals"}


@pytest.fixture(scope="module")
def board(
    classroom_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBoard]:
    """A board on which something was done about every learner, for all tests of this file."""
    folder = tmp_path_factory.mktemp("board")
    report, card = folder / "report.html", folder / "card.json"
    report.write_text("<title>Report</title>", encoding="utf-8")
    card.write_text("{}", encoding="utf-8")
    with running_board(classroom_database, folder) as running:
        with Session(running.engine) as session, session.begin():
            version = session.scalars(select(ModelVersion.id)).one()
            session.execute(update(ModelVersion).values(report=str(report), card=str(card)))
            learners = session.scalars(select(Learner.learner_id)).all()
            columns = {
                "kind": "called", "user": "root", "at": NOW, "as_of": NOW, "version_id": version,
                "unit_id": "unit-0", "predicted_class": "partial",
            }  # fmt: skip
            session.execute(
                insert(Action),
                [{**columns, "learner_id": one, "note": f"Called {one}."} for one in learners],
            )
        yield running


@pytest.fixture(scope="module")
def crawls(board: RunningBoard) -> Iterator[dict[str, Crawl]]:
    """What each user of the classroom finds."""
    clients = {user: board.client(user) for user in USERS}
    yield {user: Crawl(client, board.app).run() for user, client in clients.items()}
    for client in clients.values():
        client.close()


def hidden_from(board: RunningBoard, user: str) -> list[re.Pattern[str]]:
    """Returns what must appear nowhere: ids and names of other groups, and of their learners."""
    with Session(board.engine) as session:
        mine = select(Membership.group_id).where(Membership.user == user)
        learners = session.execute(
            select(Learner.learner_id, Learner.name).where(Learner.group_id.not_in(mine))
        )
        groups = session.execute(
            select(Group.group_id, Group.name).where(Group.group_id.not_in(mine))
        )
        texts = [text for row in (*learners, *groups) for text in row if text]
    return [re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])") for text in texts]


def text_of(response: httpx.Response) -> str:
    return f"{response.headers}\n{response.text}"


def test_every_route_is_visited(crawls: dict[str, Crawl], board: RunningBoard) -> None:
    visited = set().union(*(crawl.routes() for crawl in crawls.values()))

    assert all_routes(board.app) - visited <= UNLINKED


def test_no_page_fails(crawls: dict[str, Crawl]) -> None:
    for user, crawl in crawls.items():
        failed = {
            path: response.status_code
            for path, response in crawl.pages.items()
            if response.status_code >= 400
        }
        refused = {path for path, status in failed.items() if status == 403}
        assert set(failed) == refused, (user, failed)  # every link leads somewhere
        assert (user == "root") is not bool(refused)


@pytest.mark.parametrize(("user", "role"), USERS.items())
def test_roles_have_their_pages(crawls: dict[str, Crawl], user: str, role: str) -> None:
    status = {path: crawls[user].pages[path].status_code for path in ("/groups", "/people")}

    assert status["/groups"] == (403 if role == "teacher" else 200)
    assert status["/people"] == (200 if role == "admin" else 403)
    assert all(crawls[user].pages[path].status_code == 200 for path in ("/worklist", "/map"))


@pytest.mark.parametrize("user", ["ada", "max"])
def test_nothing_of_other_groups_appears(
    crawls: dict[str, Crawl], board: RunningBoard, user: str
) -> None:
    hidden = hidden_from(board, user)
    assert len(hidden) > 20
    assert len(crawls[user].pages) > 20

    for path, response in crawls[user].pages.items():
        text = text_of(response)
        found = [pattern.pattern for pattern in hidden if pattern.search(text)]
        assert not found, (path, found)


def test_an_admin_sees_every_group(crawls: dict[str, Crawl]) -> None:
    text = "".join(response.text for response in crawls["root"].pages.values())

    for group in ("Group 0", "Group 1", "Group 2"):
        assert group in text


def test_nobody_gets_only_pages_for_logging_in(
    crawls: dict[str, Crawl], board: RunningBoard
) -> None:
    paths = {path for crawl in crawls.values() for path in crawl.pages}
    forms = {form for crawl in crawls.values() for form in crawl.forms.values()}
    secrets = re.compile(r"learner-\d|Learner \d|Group \d|group-\d|unit-\d|Unit \d")
    with board.client() as nobody:
        for path in paths:
            response = nobody.get(path)
            assert not secrets.search(response.text), path
            if path.startswith(OPEN):
                assert response.status_code == 200, path
            else:
                assert response.status_code == 303, path
                assert response.headers["location"].startswith("/login?next=%2F")
        for form in forms:
            answer = nobody.post(form.action, data=dict(form.fields))
            assert answer.status_code in (401, 403), form
            assert not secrets.search(answer.text), form
        assert nobody.get("/learners/nobody").status_code == 303


def test_every_answer_carries_the_headers(crawls: dict[str, Crawl], board: RunningBoard) -> None:
    with board.client() as nobody:
        answers = [
            nobody.get("/login"), nobody.get("/"), nobody.post("/"), nobody.get("/nothing"),
            nobody.get("/health"), nobody.put("/"),
            nobody.get("/login", headers={"Host": "example.org"}),
            *(response for crawl in crawls.values() for response in crawl.pages.values()),
        ]  # fmt: skip
    for response in answers:
        headers, path = response.headers, response.url.path
        policy = headers["content-security-policy"]
        assert policy == CONTENT_SECURITY_POLICY or SANDBOXED.search(policy), path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] in ("same-origin", "no-referrer")
        assert headers["cache-control"] == (
            "no-cache" if path.startswith("/static/") else "no-store"
        )
        assert "server" not in headers
        assert "strict-transport-security" not in headers  # not by http


@pytest.mark.parametrize("user", USERS)
def test_no_form_is_taken_without_its_token(
    crawls: dict[str, Crawl], board: RunningBoard, user: str
) -> None:
    forms = crawls[user].forms.values()
    assert {form.action for form in forms} > {"/logout"}
    foreign = board.log_in(user).csrf  # of another login of the same user
    with board.client(user) as client:
        before = state_of(board)
        own = client.headers.pop("X-CSRF-Token")
        for form in forms:
            fields = dict(form.fields)
            for token in (None, "", "x", own[:-1], foreign):
                data = fields if token is None else {**fields, "csrf": token}
                assert client.post(form.action, data=data).status_code == 403, form
                headers = {} if token is None else {"X-CSRF-Token": token}
                assert client.post(form.action, data=fields, headers=headers).status_code == 403
            for headers in (
                {"Origin": "https://example.org"},
                {"Origin": "null"},
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
            ):
                answer = client.post(form.action, data={**fields, "csrf": own}, headers=headers)
                assert answer.status_code == 403, (form, headers)
        assert state_of(board) == before
        assert client.get("/worklist").status_code == 200


@pytest.mark.parametrize("user", ["ada", "max"])
def test_learners_of_other_groups_are_as_if_they_did_not_exist(
    crawls: dict[str, Crawl], board: RunningBoard, user: str
) -> None:
    """In every address and form, what is visible is replaced by what is not, and by nothing."""
    crawl = crawls[user]
    before = state_of(board)
    compared = set()
    for visible, hidden, missing in (
        (re.compile(r"learner-\d{4}"), "learner-0002", "learner-9999"),
        (re.compile(r"group-\d"), "group-2", "group-9"),
    ):
        for path in filter(visible.search, crawl.pages):
            same_answer(crawl, Form(path, (), path), visible, (hidden, missing), method="GET")
            compared.add(f"GET {route_of(board.app, 'GET', path)}")
        for form in crawl.forms.values():
            if visible.search(f"{form.action} {form.fields}"):
                same_answer(crawl, form, visible, (hidden, missing), method="POST")
                compared.add(f"POST {route_of(board.app, 'POST', form.action)}")
    routes = {route for route in crawl.routes() if "/learners/" in route or "/groups/" in route}
    assert len(routes) >= 3
    assert routes <= compared
    assert state_of(board) == before


def same_answer(
    crawl: Crawl,
    form: Form,
    visible: re.Pattern[str],
    others: tuple[str, str],
    *,
    method: str,
) -> None:
    """Asks for what is hidden and for what does not exist, and compares the answers."""
    answers = []
    for other in others:
        data = {name: visible.sub(other, value) for name, value in form.fields}
        path = visible.sub(other, form.action)
        response = crawl.client.request(method, path, data=data or None)
        # The page's own address, and a number by which a form is recognised when sent twice.
        varying = re.compile(rf'{other}|<input type="hidden" name="form"[^>]*>')
        answers.append((response.status_code, varying.sub("", response.text)))
    assert answers[0] == answers[1], form
    if visible.search(form.action.split("?")[0]):
        assert answers[0][0] == 404, form


def state_of(board: RunningBoard) -> tuple[object, ...]:
    """Returns what forms could have changed."""
    with Session(board.engine) as session:
        return (
            session.scalar(select(func.count()).select_from(Action)),
            session.execute(
                select(Learner.learner_id, Learner.snoozed_until).order_by(Learner.learner_id)
            ).all(),
            session.scalar(select(func.count()).select_from(Login).where(Login.user == "ada")),
        )
