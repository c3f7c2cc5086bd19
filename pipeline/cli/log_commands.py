"""`mastery check-log` and `mastery simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import ConfigOption, SetOption


def check_log(config: ConfigOption, set_: SetOption = []) -> None:  # noqa: B006 (Typer copies it)
    """Read a log without running anything, and print what is in it or what is wrong with it."""
    from components.config import load_config
    from components.event_log.log import check_log as check

    print(check(load_config(config, set_)).describe())


def simulate(
    learners: Annotated[int, typer.Option("--learners", help="How many learners.")] = 4000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same log.")] = 1,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for events and outcomes.")
    ] = Path("sample"),
    format_: Annotated[str, typer.Option("--format", help="parquet, csv or jsonl.")] = "parquet",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another log that is in the folder.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the best macro F1 any model can reach.")
    ] = False,
) -> None:
    """Write a sample log of a training platform, drawn from a model whose ceiling is known."""
    from components.simulator.ceiling import explain as find_ceiling
    from components.simulator.simulate import simulate as write_log

    print(write_log(learners, seed, out, format=format_, overwrite=overwrite).describe())
    if explain:
        print(find_ceiling(seed).describe())
