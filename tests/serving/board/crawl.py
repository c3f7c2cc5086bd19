"""Follows every link and finds every form of the board, as one user: new pages come along."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
import lxml.html
from starlette.applications import Starlette
from starlette.routing import Match, Route

OF_A_KIND = 3  # pages of one route and one set of filters; the others look the same
OF_A_ROUTE = 30  # pages with one set of filters or another
LINKS = ("href", "src", "hx-get")
IGNORED = ("/language/",)  # the pages behind it are the same, in another language


@dataclass(frozen=True)
class Form:
    """A form that changes something.

    Attributes:
        action: where it is sent.
        fields: what it says when nobody has filled it in, without the token.
        page: where it stands.
    """

    action: str
    fields: tuple[tuple[str, str], ...]
    page: str


@dataclass
class Crawl:
    """What one user finds.

    Attributes:
        of_a_kind: how many pages to visit that are alike.
        pages: the answers by path, those of redirections and errors, too.
        forms: the forms of all pages, one of each kind.
    """

    client: httpx.Client
    app: Starlette
    of_a_kind: int = OF_A_KIND
    pages: dict[str, httpx.Response] = field(default_factory=dict)
    forms: dict[object, Form] = field(default_factory=dict)

    def run(self) -> Crawl:
        """Visits all pages: those without a parameter, and those that links and filters lead to."""
        waiting = deque(
            route.path
            for route in self.app.routes
            if isinstance(route, Route) and "GET" in (route.methods or ()) and "{" not in route.path
        )
        seen: Counter[object] = Counter()
        while waiting:
            path = waiting.popleft()
            kind = kind_of(self.app, path)
            if path in self.pages or path.startswith(IGNORED):
                continue
            if seen[kind] >= self.of_a_kind or seen[kind[0]] >= OF_A_ROUTE:
                continue
            seen.update([kind, kind[0]])
            self.pages[path] = response = self.client.get(path)
            waiting.extend(self._next(path, response))
        return self

    def routes(self) -> set[str]:
        """Returns the routes that were visited, or that a form is sent to, as `GET /map`."""
        visited = {f"GET {route_of(self.app, 'GET', path)}" for path in self.pages}
        return visited | {
            f"POST {route_of(self.app, 'POST', form.action)}" for form in self.forms.values()
        }

    def _next(self, path: str, response: httpx.Response) -> Iterator[str]:
        """Yields the paths that an answer leads to, and keeps its forms."""
        if "location" in response.headers:
            yield from self._own(path, response.headers["location"])
        if not response.headers.get("content-type", "").startswith("text/html"):
            return
        page = lxml.html.fromstring(response.text)
        for attribute in LINKS:
            for element in page.xpath(f"//*[@{attribute}]"):
                yield from self._own(path, element.get(attribute))
        for form in page.forms:
            if (form.method or "GET").upper() == "POST":
                self._keep(path, form)
            else:
                yield from self._filtered(path, form)

    def _own(self, page: str, link: str) -> Iterator[str]:
        """Yields where a link leads, if it is a page of the board."""
        parts = urlsplit(urljoin(str(self.client.base_url.join(page)), link))
        if parts.netloc == self.client.base_url.netloc.decode():
            yield parts.path + (f"?{parts.query}" if parts.query else "")

    def _keep(self, page: str, form: lxml.html.FormElement) -> None:
        """Keeps a form, once for each of its buttons; one of a kind is enough."""
        action = form.action or page
        route = route_of(self.app, "POST", action)
        values = [(name, value) for name, value in form.form_values() if name != "csrf"]
        buttons = [
            (button.get("name"), button.get("value", ""))
            for button in form.xpath(".//button[@name]")
        ]
        for button in buttons or [None]:
            fields = (*values, button) if button else tuple(values)
            key = (route, tuple(name for name, _ in fields), button)
            self.forms.setdefault(key, Form(action, tuple(fields), page))

    def _filtered(self, page: str, form: lxml.html.FormElement) -> Iterator[str]:
        """Yields a form of filters as it is, and with each choice of each list in turn."""
        values = dict(form.form_values())
        action = form.action or urlsplit(page).path
        choices = [
            (select.get("name"), option.get("value", option.text))
            for select in form.xpath(".//select[@name]")
            for option in select.xpath(".//option")
        ]
        boxes = form.xpath(".//input[@type='checkbox' or @type='radio'][@name]")
        choices += [(box.get("name"), box.get("value", "on")) for box in boxes]
        for changed in [{}, *({name: value} for name, value in choices)]:
            query = urlencode({**values, **changed})
            yield from self._own(page, f"{urlsplit(action).path}?{query}")


def route_of(app: Starlette, method: str, path: str) -> str:
    """Returns the route that answers a path, e.g. `/learners/{learner_id}`."""
    scope = {"type": "http", "method": method, "path": urlsplit(path).path, "headers": []}
    for route in app.routes:
        match, _ = route.matches(scope)
        if match == Match.FULL:
            return str(route.path)  # type: ignore[attr-defined]
    return "nothing"


def kind_of(app: Starlette, path: str) -> tuple[str, tuple[str, ...]]:
    """Returns what makes two pages alike: their route, and which filters are set."""
    filters = parse_qsl(urlsplit(path).query)
    return route_of(app, "GET", path), tuple(sorted({name for name, value in filters if value}))


def all_routes(app: Starlette) -> set[str]:
    """Returns all routes, as `Crawl.routes` does."""
    return {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method in ("GET", "POST")
    }
