"""`mastery models stop`, `resume` and `incident`: when a model does harm."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ModelsOption,
    NameArgument,
    OptionalConfigOption,
    RootOption,
    SetOption,
    complete_version_names,
    open_folder,
)
from pipeline.cli.tracking_commands import tell_labels

OptionalNameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[VERSION]",
        help="A number, or stable, canary, previous.",
        autocompletion=complete_version_names,
    ),
]


def stop(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; shown to callers and in the log.")
    ],
    version: OptionalNameArgument = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every version, also those that are pushed later.")
    ] = False,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
) -> None:
    """Take a version, or all of the model, out of service.

    Servers follow at their next poll, and scoring refuses. Stopping the stable version takes the
    model out of service: `promote` or `rollback` decides what answers instead.

    Example:
        mastery models stop stable --reason "wrong answers" --config configs/sample.yaml
    """
    from serving.models import stopping
    from serving.models.listing import resolve

    _require_one(version, all_)
    storage = open_folder(models, config, set_, root)
    number = None if version is None else resolve(storage, version)
    print(stopping.describe_stop(stopping.stop(storage, number, reason)))
    tell_labels(storage, config, set_, root)


def resume(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="The number that was stopped.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that was stopped.")] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")
    ] = None,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
) -> None:
    """End a stop: what was served before is served again, unless another is.

    Example:
        mastery models resume --all --reason "data corrected" --config configs/sample.yaml
    """
    from serving.models import stopping
    from serving.models.listing import resolve

    _require_one(version, all_)
    storage = open_folder(models, config, set_, root)
    number = None if version is None else resolve(storage, version)
    print(stopping.describe_stop(stopping.resume(storage, number, reason)))
    tell_labels(storage, config, set_, root)


def incident(
    version: NameArgument,
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="What happened, to whom.")],
    severity: Annotated[
        Literal["serious", "other"],
        typer.Option("--severity", help="serious: one to report under Article 73 of the AI Act."),
    ] = "other",
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
) -> None:
    """Record what went wrong with a version, for its card and `mastery models show`.

    Example:
        mastery models incident stable --severity serious --text "..." --config configs/sample.yaml
    """
    from serving.models.incidents import record_incident
    from serving.models.listing import resolve

    storage = open_folder(models, config, set_, root)
    number = resolve(storage, version)
    entry = record_incident(storage, number, text, severity)
    print(f"Recorded a {severity} incident of version {number} (revision {entry.revision}).")
    if severity == "serious":
        print(
            "Article 73 of the AI Act: its provider reports a serious incident to the authority, "
            "as a rule within 15 days. `mastery models stop` takes the version out of service."
        )


def _require_one(version: str | None, all_: bool) -> None:
    from components.errors import MasteryError

    if (version is None) != all_:
        raise MasteryError("expected either a version or --all.")
