"""`mastery models compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import (
    JsonOption,
    ModelsOption,
    NameArgument,
    OptionalConfigOption,
    RootOption,
    SetOption,
)
from pipeline.cli.serving_folder import open_serving_folder


def compare(
    a: NameArgument,
    b: NameArgument,
    events: Annotated[
        list[str], typer.Option("--events", help="The events of a log that neither was trained on.")
    ],
    outcomes: Annotated[list[str], typer.Option("--outcomes", help="Its outcomes.")],
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="What decides; default: f1_macro, or rmse."),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", min=100, help="How often learners are drawn.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same intervals.")] = 1,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    root: RootOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Score two versions on the same log, and say whether the second one is better."""
    import json

    from components.command.program import quiet_imports
    from serving.models.show import resolve

    storage = open_serving_folder(models, config, set_, root)
    numbers = resolve(storage, a), resolve(storage, b)
    with quiet_imports():
        from serving.models.compare import compare_versions
    compared = compare_versions(
        storage, *numbers, events, outcomes, metric=metric, draws=draws, seed=seed
    )
    if json_:
        print(json.dumps(compared, indent=1))
        return
    from components.command.console import PlainConsole
    from serving.models.display import print_comparison

    print_comparison(compared, PlainConsole())
