"""`mastery models`: what has been pushed, what is served, and the changes of that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import models_compare
from pipeline.cli.options import (
    JsonOption,
    ModelsOption,
    NameArgument,
    OptionalConfigOption,
    RootOption,
    SetOption,
)
from pipeline.cli.serving_folder import open_serving_folder

app = typer.Typer(
    help="List a model's versions, and decide which of them is served.", no_args_is_help=True
)

VersionArgument = Annotated[
    int, typer.Argument(metavar="VERSION", min=0, help="As `mastery models list` has it.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also a version that is not for serving; with --reason.")
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")
]


app.command("compare")(models_compare.compare)


@app.command("list")
def list_(
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    root: RootOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """List the versions: labels, metrics, the runs they are from, and what speaks against serving them."""
    import json

    from components.command.console import PlainConsole
    from serving.models.listing import list_versions, print_versions

    listing = list_versions(open_serving_folder(models, config, set_, root))
    if json_:
        print(json.dumps(listing.model_dump(mode="json"), indent=1))
    else:
        print_versions(listing, PlainConsole())


@app.command()
def show(
    version: NameArgument,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    root: RootOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Print all that is known of a version: metrics, gates, lineage."""
    import json

    from components.command.console import PlainConsole
    from serving.models.listing import list_versions, print_version, resolve

    storage = open_serving_folder(models, config, set_, root)
    number = resolve(storage, version)
    listing = list_versions(storage)
    found = next(item for item in listing.versions if item.version == number)
    if json_:
        print(json.dumps(found.model_dump(mode="json"), indent=1))
    else:
        print_version(listing, found, PlainConsole())


@app.command()
def promote(
    version: VersionArgument,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    root: RootOption = Path("runs"),
    force: ForceOption = False,
    reason: ReasonOption = None,
    base_path: Annotated[
        str | None,
        typer.Option(
            "--base-path", metavar="PATH",
            help="The folder as TensorFlow Serving sees it, where that is another path; kept from then on.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Make a version stable. Exit code 1: something speaks against it, and nothing was changed."""
    from serving.models import promotion

    storage = open_serving_folder(models, config, set_, root)
    entry = promotion.promote(storage, version, force=force, reason=reason, base_path=base_path)
    print(promotion.describe_change(entry))


@app.command()
def rollback(
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    root: RootOption = Path("runs"),
    reason: ReasonOption = None,
) -> None:
    """Make the version stable that was before; again: the one before that."""
    from serving.models import promotion

    print(
        promotion.describe_change(
            promotion.roll_back(open_serving_folder(models, config, set_, root), reason)
        )
    )


@app.command()
def canary(
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", min=0, help="The version to try.")
    ] = None,
    share: Annotated[
        int, typer.Option("--share", min=1, max=99, help="Percent of the requests.")
    ] = 10,
    stop: Annotated[bool, typer.Option("--stop", help="Take the label canary away.")] = False,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    root: RootOption = Path("runs"),
    force: ForceOption = False,
    reason: ReasonOption = None,
) -> None:
    """Give a version the label canary, and record its share in routing.json for whoever splits the requests."""
    from components.errors import MasteryError
    from serving.models import promotion

    if (version is None) != stop:
        raise MasteryError(
            "mastery models canary: expected a version, or --stop, found both or neither."
        )
    storage = open_serving_folder(models, config, set_, root)
    if version is None:
        entry = promotion.stop_canary(storage, reason)
    else:
        entry = promotion.start_canary(storage, version, share, force=force, reason=reason)
    print(promotion.describe_change(entry))


@app.command()
def prune(
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="How many of the newest stay in any case.")
    ],
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    root: RootOption = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed.")
    ] = False,
    reason: ReasonOption = None,
) -> None:
    """Remove old versions; never what is served, what rollback goes back to, or what is newer than stable."""
    from serving.models import promotion

    storage = open_serving_folder(models, config, set_, root)
    removed = (
        promotion.plan_prune(storage, keep) if dry_run else promotion.prune(storage, keep, reason)
    )
    for version in removed:
        print(f"{'would remove' if dry_run else 'removed'} {storage.address}/{version}")
    if not removed:
        print("Nothing to remove.")


@app.command()
def log(
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    root: RootOption = Path("runs"),
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only so many, the latest.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Print who changed what when."""
    import json

    from serving.models.changes import read_entries
    from serving.models.listing import describe_log

    entries = read_entries(open_serving_folder(models, config, set_, root), last)
    if json_:
        print(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1))
    else:
        print(describe_log(entries))
