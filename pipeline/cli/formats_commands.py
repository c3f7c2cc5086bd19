"""Commands about the formats of logs: `formats list` and `formats show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import NO_SETTINGS, SetOption


def list_() -> None:
    """List the formats of logs that can be read.

    Example:
        mastery formats list
    """
    from components.platforms.formats import FORMATS, mapping_of

    for name in FORMATS:
        print(f"{name:10} {mapping_of(name).title}")


def show(
    name: Annotated[str | None, typer.Argument(metavar="FORMAT", help="Such as moodle.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Show the mapping in effect with this configuration."
        ),
    ] = None,
    set_: SetOption = NO_SETTINGS,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="As YAML, to copy into the section `data`.")
    ] = False,
) -> None:
    """Show how records of a format become events, or those of a configuration.

    Example:
        mastery formats show moodle
        mastery formats show --config configs/oulad.yaml --yaml
    """
    from components.command.suggest import did_you_mean
    from components.config import load_config
    from components.errors import MasteryError
    from components.platforms.formats import FORMATS, mapping_of

    if (name is None) == (config is None):
        raise MasteryError("expected a format, such as moodle, or --config FILE.")
    if config is not None:
        mapping = load_config(config, set_).data.event_mapping or mapping_of("standard")
    elif name in FORMATS:
        mapping = mapping_of(name)
    else:
        hint = did_you_mean(str(name), FORMATS)
        raise MasteryError(f"expected one of the formats {', '.join(FORMATS)}, found {name}{hint}.")

    if yaml:
        from components.platforms.reference import as_yaml

        print(as_yaml(mapping), end="")
    else:
        from pipeline.mapping_tables import print_mapping

        print_mapping(mapping)
