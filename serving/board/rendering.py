"""Renders pages: Jinja's templates in the reader's language, whole or as a part for htmx."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_timedelta
from babel.numbers import format_decimal, format_percent
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from serving.answers.words import LANGUAGES, translations

FOLDER = Path(__file__).parent
LANGUAGE_COOKIE = "language"


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
    found = negotiate_locale(preferred, LANGUAGES)
    if found is None:  # "zh_Hans_CN" is zh
        primary = [name.partition("_")[0].lower() for name in preferred]
        found = next((name for name in primary if name in LANGUAGES), None)
    return found or "en"


@cache
def _environment(language: str) -> Environment:
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
    environment.filters.update(
        percent=lambda value: format_percent(value, locale=locale),
        number=lambda value: format_decimal(value, locale=locale),
        day=lambda value: format_date(value, "medium", locale=locale),
        ago=lambda value, now: format_timedelta(value - now, add_direction=True, locale=locale),
    )
    return environment


def render(request: Request, template: str, **values: Any) -> HTMLResponse:
    """Returns a page.

    Args:
        request: `request.state.viewer` is the reader, None where nobody is logged in.
        template: a file in `templates/`; its extends `page.html.j2` unless htmx asks for a part.
        values: what the template shows, besides `viewer`, `language`, `now` and `request`.
    """
    language = language_of(request)
    page = _environment(language).get_template(template)
    now: datetime = request.app.state.now()
    text = page.render(
        viewer=request.state.viewer, language=language, languages=LANGUAGES, now=now,
        request=request, **values,
    )  # fmt: skip
    return HTMLResponse(text, headers={"Vary": "Accept-Language, Cookie, HX-Request"})


def is_partial(request: Request) -> bool:
    """Returns whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"
