"""`mastery demo`: four weeks of a term on the simulated log, and the board that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import NO_SETTINGS, RUNS, ConfigOption, RootOption, SetOption, pushed_to

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from serving.answers.scoring.versions import PushedVersion
    from serving.answers.settings import AnswersSettings

PAGES = {
    "ada": ("/worklist", "/map"),
    "max": ("/groups", "/versions"),
    "root": ("/people",),
}


def demo(
    config: ConfigOption = Path("configs/sample.yaml"),
    answers: Annotated[
        Path, typer.Option("--answers", metavar="FILE", help="Rules and channels of the alerts.")
    ] = Path("configs/answers.yaml"),
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Where the demonstration is kept.")
    ] = Path("sample/demo"),
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the board; 0: any free one.")
    ] = 8600,
    board: Annotated[
        bool, typer.Option("--board/--no-board", help="Show the board at the end.")
    ] = True,
) -> None:
    """Show a term on the board: four weeks of answers and alerts.

    Simulates learners that the model has never seen, scores them day by day as the term goes on,
    tells whom the rules name, and brings in outcomes as they come. Needs a model of the simulated
    log; `make demo` makes one.

    Example:
        mastery demo --config configs/sample.yaml
    """
    import os

    from components.command.program import quiet_imports

    with quiet_imports():
        from serving.answers.database import open_database
        from serving.answers.demonstration import NOW
        from serving.answers.scoring.versions import newest_version
        from serving.answers.settings import load_settings
        from serving.board.serve import Place, serve_board

    settings = load_settings(answers)
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder.resolve() / 'answers.db'}"
    engine = open_database(url)
    try:
        with newest_version(pushed_to(config, set_, root)) as version:
            _fill(engine, url, version, settings, folder)
        for name, channel in settings.channels.items():
            if channel.kind == "file":
                print(f"alerts to {name}: {channel.path}")
        if board:
            _print_links(port)
            place = Place(host="127.0.0.1", port=port, demo=True, now=NOW)
            serve_board(engine, settings, place, os.environ)
    finally:
        engine.dispose()


def _fill(
    engine: Engine,
    url: str,
    version: PushedVersion,
    settings: AnswersSettings,
    folder: Path,
) -> None:
    from serving.answers.demonstration import is_complete, live_through, make_term

    if is_complete(engine, version):
        print("The four weeks are there already.")
        return
    for line in live_through(engine, url, make_term(folder), version, settings):
        print(line, flush=True)


def _print_links(port: int) -> None:
    if not port:
        return
    print("\nThe board, until Ctrl-C; choose a user first:")
    for user, paths in PAGES.items():
        links = "  ".join(f"http://127.0.0.1:{port}{path}" for path in paths)
        print(f"  {user:<5} {links}")
    print()
