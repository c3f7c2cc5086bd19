"""`mastery fetch`: brings what a platform has recorded since the last time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import NO_SETTINGS, SetOption

if TYPE_CHECKING:
    from components.config.fetch import Fetch, FetchFolder


def fetch(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The configuration, with data.fetch."),
    ] = None,
    set_: SetOption = NO_SETTINGS,
    database_env: Annotated[
        str | None,
        typer.Option(
            "--database-env",
            metavar="NAME",
            help="Instead: the variable with the URL of Moodle's database,",
        ),
    ] = None,
    statements: Annotated[
        str | None,
        typer.Option("--statements", metavar="URL", help="or the address of a record store,"),
    ] = None,
    user_env: Annotated[
        str | None,
        typer.Option("--user-env", metavar="NAME", help="the variable with the user name there,"),
    ] = None,
    password_env: Annotated[
        str | None,
        typer.Option("--password-env", metavar="NAME", help="the variable with the password,"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="and the folder that files are written into."),
    ] = None,
) -> None:
    """Fetch what is new in the log from Moodle's database or a record store.

    Files are written into the folder of `data.events`. Nothing is written to the platform. `mastery
    run`, `check-log`, `convert` and `schema infer` do the same first; this is for a schedule of its
    own, and for a first look before there is a configuration.

    Example:
        mastery fetch --config configs/my-moodle.yaml
    """  # fmt: skip
    from components.platforms.fetch.fetch import fetch_events

    flags = {
        "database_env": database_env,
        "statements": statements,
        "user_env": user_env,
        "password_env": password_env,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    where = _of_flags(given, out) if config is None else _of_config(config, set_, given, out)
    for line in fetch_events(*where):
        print(line, flush=True)


def _of_config(
    config: Path, set_: list[str], given: dict[str, Any], out: Path | None
) -> tuple[Fetch, FetchFolder]:
    from components.config import load_config
    from components.config.fetch import fetch_folder
    from components.errors import MasteryError

    if given or out is not None:
        raise typer.BadParameter("--config says where from and where to; change it with --set")
    data = load_config(config, set_).data
    if data.fetch is None:
        raise MasteryError(
            f"{config}: expected data.fetch, which says where the log is fetched from, found none; "
            "docs/fetch.md shows both kinds."
        )
    return data.fetch, fetch_folder(data.events[0])


def _of_flags(given: dict[str, Any], out: Path | None) -> tuple[Fetch, FetchFolder]:
    from pydantic import ValidationError

    from components.command.explain import explain_invalid
    from components.config.fetch import Fetch, fetch_folder

    if out is None:
        raise typer.BadParameter("expected --config FILE, or where from and --out DIR")
    try:
        return Fetch(**given), fetch_folder(str(out))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        names = "".join(f"--{str(name).replace('_', '-')}: " for name in problem["loc"])
        raise typer.BadParameter(f"{names}{explain_invalid(problem)}") from None
    except ValueError as error:
        raise typer.BadParameter(f"--out: {error}") from None
