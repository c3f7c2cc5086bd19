"""Commands that test a whole configuration: `cross-validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    JsonOption,
    RootOption,
    SetOption,
)


def cross_validate(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="N", help="How many; sets data.splits.folds."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Run the pipeline once per fold, and print the metrics over all folds.

    Nothing is pushed. The simple models of `evaluation.simple_models` stand beside the network,
    with the gain over each. The same command resumes after a failure or Ctrl-C.

    Exit code 0: all folds ran, whatever their gates; 2: an error; 130: interrupted.

    Example:
        mastery cross-validate --config configs/sample.yaml --folds 5
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from pipeline.cross_validation.folds import cross_validate as run_folds
    from pipeline.cross_validation.render import MARKDOWN, print_table
    from pipeline.layout import Layout

    number = [] if folds is None else [f"data.splits.folds={folds}"]
    loaded = load_config(config, [*set_, *number])
    console = PlainConsole(stderr=json_)  # of JSON, standard output holds nothing else
    result = run_folds(loaded, root, console=console)

    if json_:
        print(result.to_json(), end="")
        return
    console.print()
    print_table(result)
    folder = Layout(root.resolve(), loaded.name).cross_validation
    console.print(f"Written  {folder / MARKDOWN}, {result.FILE}", soft_wrap=True)
