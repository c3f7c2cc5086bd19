"""Commands that put a configuration to the test: `cross-validate` and `audit`."""

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


def audit(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    rounds: Annotated[
        int,
        typer.Option(
            "--rounds", metavar="N", help="Outcomes of a sequence whose future is altered."
        ),
    ] = 32,
    json_: JsonOption = False,
) -> None:
    """Prove on a log that no example shows anything of what is predicted.

    Runs ExampleGen on the log and on altered copies of it: with other events from each `as_of` on,
    other labels, and labels shuffled among learners, on which a model must find nothing.

    Exit code 0: all is well; 1: something is not; 2: an error.

    Example:
        mastery audit --config configs/sample.yaml
    """
    from components.config import load_config

    loaded = load_config(config, set_)  # before Polars: a wrong value is reported at once

    import json

    from components.command.console import PlainConsole
    from pipeline.audit.audit import audit as find

    console = PlainConsole(stderr=json_)
    findings = []
    for finding in find(loaded, rounds=rounds):
        findings.append(finding)
        mark, style = ("✓", "green") if finding.passed else ("✗", "bold red")
        console.print(f"{mark} {finding.name}", style=style)
        console.print(f"    {finding.text}", soft_wrap=True)
    if json_:
        print(json.dumps([finding.model_dump() for finding in findings], indent=1))
    raise typer.Exit(0 if all(finding.passed for finding in findings) else 1)
