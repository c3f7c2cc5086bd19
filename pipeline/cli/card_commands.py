"""`mastery models card`: what people should know about a version before they use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    JsonOption,
    ModelsOption,
    NameArgument,
    OptionalConfigOption,
    RootOption,
    SetOption,
    open_folder,
)


def card(
    version: NameArgument,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it as HTML.")
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Open it in the browser; alone, a temporary file.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Print a version's model card, its incidents, and whether it is in service.

    What the provider has left blank is counted.

    Example:
        mastery models card stable --config configs/sample.yaml
    """
    import json
    import tempfile

    from components.command.console import PlainConsole
    from components.files.atomic import write_text
    from serving.models.card import print_card, read_card, render_card
    from serving.models.listing import resolve

    storage = open_folder(models, config, set_, root)
    found = read_card(storage, resolve(storage, version))
    if open_ and out is None:
        out = Path(tempfile.mkdtemp(prefix="mastery-card-"), f"card-{found.card.version}.html")
    if out is not None:
        write_text(out, render_card(storage, found))

    if json_:
        print(json.dumps(found.model_dump(mode="json", by_alias=True), indent=1))
    else:
        print_card(found, PlainConsole())
        if out is not None:
            print(out)
    if open_:
        typer.launch(str(out))
