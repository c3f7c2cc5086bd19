"""The board's pages as one user of the classroom sees them, parsed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import lxml.html
from sqlalchemy import Engine, event

from serving.answers.settings import AnswersSettings
from serving.board.access import DemoAccess
from serving.board.app import create_app
from serving.board.viewer import Viewer
from tests.serving.answers import classroom
from tests.serving.board.running import serving

VIEWERS = {
    "ada": Viewer("ada", "Ada", "teacher", frozenset({"group-0"}), 20, "token"),
    "max": Viewer("max", "Max", "manager", frozenset({"group-0", "group-1"}), 20, "token"),
    "root": Viewer("root", "Root", "admin", None, 20, "token"),
}


@dataclass
class Pages:
    """The pages as a user sees them; counts the statements of each."""

    client: httpx.Client
    statements: list[str] = field(default_factory=list)

    def get(self, address: str, language: str = "en") -> lxml.html.HtmlElement:
        """Returns a page."""
        self.statements.clear()
        response = self.client.get(address, headers={"accept-language": language})
        assert response.status_code == 200, (address, response.status_code, response.text[-500:])
        return lxml.html.fromstring(response.text)

    def status(self, address: str) -> int:
        """Returns the status of an answer."""
        return self.client.get(address).status_code


@contextmanager
def pages_of(engine: Engine, user: str) -> Iterator[Pages]:
    """Opens the board's pages on a database for a user of the classroom."""
    access = DemoAccess(VIEWERS[user])
    app = create_app(engine, AnswersSettings(), access, now=lambda: classroom.NOW)
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        pages = Pages(client)

        def note(*arguments: Any) -> None:
            if "max(model_versions.id)" not in arguments[2]:  # every few seconds, for any page
                pages.statements.append(arguments[2])

        event.listen(engine, "before_cursor_execute", note)
        try:
            yield pages
        finally:
            event.remove(engine, "before_cursor_execute", note)


def text_of(element: Any) -> str:
    """Returns what somebody reads in an element, with single spaces."""
    return " ".join(element.text_content().split())
