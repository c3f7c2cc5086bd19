"""Renders pages: Jinja's templates in the reader's language, whole or as a part for htmx."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime, format_skeleton, format_timedelta
from babel.numbers import format_decimal, format_percent
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from serving.answers.words import LANGUAGES, translations
from serving.board.links import learner_link

FOLDER = Path(__file__).parent
LANGUAGE_COOKIE = "language"
LANGUAGE_NAMES: dict[str, str] = {"en": "English", "de": "Deutsch", "zh": "中文"}


def language_of(request: Request) -> str:
    """Returns the reader's language: the one chosen on the page, else the browser's, else en."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return chosen

    wanted: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:500].split(","):
        name, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), name.replace("-", "_")))
        except ValueError:
            continue
    preferred = [name for weight, name in sorted(wanted, key=lambda item: item[0]) if weight]
    return negotiate_locale(preferred, LANGUAGES) or "en"


@cache
def _environment(language: str, time_zone: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("serving.board"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]

    locale = Locale.parse(language)
    zone = ZoneInfo(time_zone)

    def day(value: date) -> str:
        in_zone = value.astimezone(zone) if isinstance(value, datetime) else value
        return format_date(in_zone, "medium", locale=locale)

    environment.filters.update(
        percent=lambda value: format_percent(value, locale=locale),
        number=lambda value: format_decimal(value, locale=locale),
        day=day,
        short_day=lambda value: format_skeleton("MMMd", value, locale=locale),
        moment=lambda value: format_datetime(value, "medium", tzinfo=zone, locale=locale),
        ago=lambda value, now: format_timedelta(value - now, add_direction=True, locale=locale),
    )
    environment.globals["learner_link"] = learner_link
    return environment


def render(
    request: Request, template: str, *, status_code: int = 200, **values: Any
) -> HTMLResponse:
    """Returns a page.

    Templates have the filters `percent`, `number`, `day` (also of a moment, in the board's time
    zone), `short_day` (without the year), `moment` and `ago(now)`, and the function
    `learner_link(learner_id, unit_id=None)`.

    Args:
        request: `request.state.viewer` is the reader, None where nobody is logged in.
        template: a file in `templates/`; it extends `page.html.j2` unless htmx asks for a part.
        status_code: of the response.
        values: what the template shows, besides `viewer`, `stopped` (models that are out of
            service), `csrf`, `language`, `languages`, `now`, `here` (the page's path, to come back
            to) and `request`.
    """
    language = language_of(request)
    time_zone = request.app.state.settings.board.time_zone
    page = _environment(language, time_zone).get_template(template)
    now: datetime = request.app.state.now()
    here = address_of(request) if request.method == "GET" else "/"  # a form's target is no page
    viewer = getattr(request.state, "viewer", None)  # none for a request that came to nothing
    text = page.render(
        viewer=viewer, stopped=request.app.state.stopped.find() if viewer else [],
        csrf=getattr(request.state, "csrf", None),
        language=language, languages=LANGUAGE_NAMES, now=now, here=here, request=request,
        **values,
    )  # fmt: skip
    headers = {"Vary": "Accept-Language, Cookie, HX-Request", "Content-Language": language}
    return HTMLResponse(text, status_code, headers)


def address_of(request: Request) -> str:
    """Returns a request's path and query; `request.url` would fail for some values of `Host`."""
    query = request.scope["query_string"].decode("latin-1")
    path = quote(request.scope["path"], safe="/~:@!$&'()*+,;=-._")
    return f"{path}?{query}" if query else path


def is_partial(request: Request) -> bool:
    """Returns whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"
