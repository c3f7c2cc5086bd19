"""`mastery tune`: searches for better settings of the fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    JsonOption,
    OfflineOption,
    RootOption,
    SetOption,
    finite,
    load_and_fetch,
)


def tune(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space", metavar="FILE", help="What to try, a YAML file; default: docs/tuning.md."
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option("--trials", metavar="N", min=1, help="How many, with those of earlier calls."),
    ] = 30,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed of what is drawn.")
    ] = 0,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0,
            callback=finite,
            help="Start no trial after this long; default: never stop early.",
        ),
    ] = None,
    offline: OfflineOption = False,
    json_: JsonOption = False,
) -> None:
    """Search for settings of the fit with a lower loss on the eval split.

    The test split is not looked at. The first trial is the configuration as it is; trials that are
    worse than others at the same epoch end early. The best values are written as best.diff, for
    `patch`, and best.yaml, below the root. The same command goes on after Ctrl-C.

    Exit code 0: all trials ran; 2: an error; 130: interrupted.

    Example:
        mastery tune --config configs/sample.yaml --trials 30
    """
    from components.command.console import PlainConsole
    from pipeline.layout import Layout
    from pipeline.tuning.best import DIFF, YAML
    from pipeline.tuning.render import MARKDOWN, print_result
    from pipeline.tuning.tune import Search
    from pipeline.tuning.tune import tune as run_search

    console = PlainConsole(stderr=json_)  # of JSON, standard output holds nothing else
    loaded = load_and_fetch(config, set_, offline=offline)
    search = Search(config, tuple(set_), space, root, trials, seed, timeout)
    result = run_search(search, console=console)
    if json_:
        print(result.to_json(), end="")
        return
    console.print()
    print_result(result, console)
    folder = Layout(root.resolve(), loaded.name).tuning
    console.print(f"Written  {folder / YAML}, {DIFF}, {MARKDOWN}, {result.FILE}", soft_wrap=True)
