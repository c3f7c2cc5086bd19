"""`mastery schema infer` and `mastery schema diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import ConfigOption, SetOption

app = typer.Typer(
    help="Write a first schema from a log, or see what a new log would change.",
    no_args_is_help=True,
)


@app.command()
def infer(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: `schema` of the configuration."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a schema that is there.")
    ] = False,
) -> None:
    """Write a first schema from the log; curate it by hand before you trust it."""
    from components.command.program import quiet_imports
    from components.config import load_config

    loaded = load_config(
        config, set_
    )  # before TensorFlow is imported: a wrong value answers at once
    with quiet_imports():
        from pipeline.schema import infer_schema, write_schema
    path = out or Path(loaded.schema_)
    print(write_schema(infer_schema(loaded), path, force=force))


@app.command()
def diff(config: ConfigOption, set_: SetOption = []) -> None:  # noqa: B006 (Typer copies it)
    """Print what the log would change in the curated schema; exit code 1 where it would."""
    from components.command.program import quiet_imports
    from components.config import load_config

    loaded = load_config(config, set_)
    with quiet_imports():
        from pipeline.schema import diff_schema
    lines = diff_schema(loaded)
    print("\n".join(lines) if lines else "The log fits the schema.")
    raise typer.Exit(1 if lines else 0)
