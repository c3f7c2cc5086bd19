"""`mastery board`: the pages for the people who act on answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import DatabaseOption

if TYPE_CHECKING:
    from datetime import datetime


def board(
    db: DatabaseOption = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="answers.yaml: who may come in, and more."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0: any free one."),
    ] = 8600,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="No login: whoever opens the board chooses a user. This machine only."
        ),
    ] = False,
    now: Annotated[
        str | None,
        typer.Option(
            "--now", metavar="TIME", help="The time on the pages, for the answers of an old log."
        ),
    ] = None,
) -> None:
    """Show who needs help today, as pages for teachers and managers.

    Readers log in at a proxy or at a provider of OpenID Connect, as --answers says, and see the
    learners of their groups. Stop it with Ctrl-C.

    Example:
        mastery board --db answers.db --demo
    """
    import logging
    import os
    import sys

    from serving.answers.database import open_database
    from serving.answers.settings import load_settings
    from serving.board.serve import Place, serve_board

    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("mastery.board").setLevel(logging.INFO)
    place = Place(host=host, port=port, demo=demo, now=_moment(now))
    settings = load_settings(answers)
    engine = open_database(db, existing=True)
    try:
        serve_board(engine, settings, place, os.environ)
    finally:
        engine.dispose()


def _moment(text: str | None) -> datetime | None:
    """Returns a time that somebody gave; one without a zone is UTC."""
    from datetime import UTC, datetime

    from components.errors import MasteryError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MasteryError(
            f"--now: expected a time such as 2026-03-02T06:00, found {text}."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
