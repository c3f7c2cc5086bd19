"""Commands before the first run: `doctor`, `simulate`, `check-log` and `schema`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    ConfigOption,
    OfflineOption,
    SetOption,
    load_and_fetch,
)

if TYPE_CHECKING:
    from components.config.beam import Beam
    from pipeline.environment.doctor import Finding


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Import TensorFlow and TFX too.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Check what this configuration needs, such as a GPU."
        ),
    ] = None,
    set_: SetOption = NO_SETTINGS,
) -> None:
    """Print what is installed here and what is wrong with it.

    Exit code 0: nothing is wrong; 1: something is.

    Example:
        mastery doctor --deep
    """
    from pipeline.environment.doctor import doctor as examine

    gpu_wanted = False
    others: Iterator[Finding] = iter(())
    if config is not None:
        # Only here, so that doctor also runs in an environment without Pydantic.
        from components.config import load_config

        loaded = load_config(config, set_)
        gpu_wanted = loaded.training.device == "gpu"
        others = _look_at_flink(loaded.beam)
    raise typer.Exit(examine(deep=deep, gpu_wanted=gpu_wanted, others=others))


def _look_at_flink(beam: Beam) -> Iterator[Finding]:
    """Looks for the Flink cluster, if the nodes run on one."""
    from components.node.flink.check import check_flink
    from components.node.flink.cluster import FlinkError
    from pipeline.environment.doctor import Finding

    try:
        found = check_flink(beam)
    except FlinkError as error:
        yield Finding("FAIL", "Flink", "cannot be used", str(error))
    else:
        if found is not None:
            yield Finding("ok", "Flink", found)


def simulate(
    learners: Annotated[
        int, typer.Option("--learners", help="How many learners; with --weeks: new ones per week.")
    ] = 4000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same log.")] = 1,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for events and outcomes.")
    ] = Path("sample"),
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="parquet, csv or jsonl; or a platform: moodle, open_edx, xapi, caliper.",
        ),
    ] = "parquet",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a log that is in the folder already.")
    ] = False,
    bias: Annotated[
        str | None,
        typer.Option("--bias", help="Plant a bias against women: labels or records."),
    ] = None,
    weeks: Annotated[
        int | None,
        typer.Option(
            "--weeks",
            metavar="N",
            help="Write N weekly deliveries, each with new learners, in folders by date.",
        ),
    ] = None,
    first_day: Annotated[
        datetime | None,
        typer.Option(
            "--first-day",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="Of the first week; default: 2026-01-05, a Monday.",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            metavar="KIND:WEEK",
            help="From that week on: intake, content or relation changes; repeatable.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the best macro F1 any model can reach.")
    ] = False,
) -> None:
    """Write a sample log of a training platform.

    The log is drawn from a model, so the best result that any other model can reach is known.

    Example:
        mastery simulate --learners 4000 --out sample --explain
        mastery simulate --weeks 10 --learners 300 --change relation:6 --out log
    """
    from components.simulator.ceiling import explain as find_ceiling
    from components.simulator.simulate import simulate as write_log

    log = write_log(
        learners, seed, out, format=format_, overwrite=overwrite, bias=bias, weeks=weeks,
        first_day=None if first_day is None else first_day.date(), changes=change or (),
    )  # fmt: skip
    print(log.describe())
    if explain:
        print(find_ceiling(seed).describe())


def check_log(
    config: ConfigOption, set_: SetOption = NO_SETTINGS, offline: OfflineOption = False
) -> None:
    """Read a log, and print its contents or its problems.

    Nothing is run; nothing is written but what `data.fetch` brings.

    Example:
        mastery check-log --config configs/sample.yaml
    """
    from components.event_log.log import check_log as check

    print(check(load_and_fetch(config, set_, offline=offline)).describe())


def infer(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: `schema` of the configuration."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing schema.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Write a first schema from the log.

    Curate it by hand before you trust it.

    Example:
        mastery schema infer --config configs/my-log.yaml
    """
    from components.command.program import quiet_imports

    # Before TensorFlow: a wrong value is reported at once.
    loaded = load_and_fetch(config, set_, offline=offline)
    with quiet_imports():
        from pipeline.schema import infer_schema, write_schema

    path = out or Path(loaded.schema_)
    print(write_schema(infer_schema(loaded), path, force=force))


def diff(config: ConfigOption, set_: SetOption = NO_SETTINGS) -> None:
    """Print what the log would change in the curated schema.

    Exit code 0: nothing; 1: something.

    Example:
        mastery schema diff --config configs/my-log.yaml --set data.events=new.parquet
    """
    from components.command.program import quiet_imports
    from components.config import load_config

    loaded = load_config(config, set_)
    with quiet_imports():
        from pipeline.schema import diff_schema

    lines = diff_schema(loaded)
    print("\n".join(lines) if lines else "The log fits the schema.")
    raise typer.Exit(1 if lines else 0)
