"""Options and arguments that several commands share, and what the shell completes for them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from components.config import Config
    from serving.models.storage import Storage

RUNS = Path("runs")  # the default root
NO_SETTINGS: list[str] = []  # the default of --set and other repeatable options; Typer copies it


def finite(value: float | None) -> float | None:
    """Refuses nan and inf, which are valid numbers to Python."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, found {value}")
    return value


def parse_version_number(text: str) -> int:
    """Returns the version that an argument names, by the rule that folders of versions follow.

    Raises:
        typer.BadParameter: it is not the number of a version.
    """
    from components.model_version.folders import version_number

    number = version_number(text)
    if number is None or number < 0:
        raise typer.BadParameter(
            f"expected a number that `mastery models list` shows, found {text!r}"
        )
    return number


def parse_moment(
    option: str,
    text: str | None,
    *,
    zone: tzinfo | None = None,
    example: str = "time such as 2026-03-02T06:00Z",
) -> datetime:
    """Returns the time that an option names; now if it was not given.

    Args:
        option: its name, for the error.
        text: ISO 8601.
        zone: of a time that names none; default: UTC.
        example: what the error says was expected.

    Raises:
        MasteryError: it is not a time.
    """
    from datetime import UTC, datetime

    from components.errors import MasteryError

    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MasteryError(f"{option}: expected a {example}, found {text!r}.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone or UTC)


def complete_nodes(incomplete: str) -> list[str]:
    """Returns the ids of nodes that begin with `incomplete`."""
    from components.node.node_id import Node

    return [node.value for node in Node if node.value.startswith(incomplete)]


def complete_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the ids of runs below `--root` that begin with `incomplete`, latest first."""
    root = Path(ctx.params.get("root") or RUNS)
    names = {folder.name for folder in root.glob("*/runs/*")}
    return sorted((name for name in names if name.startswith(incomplete)), reverse=True)


def complete_versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the versions in the serving folder that begin with `incomplete`, newest first.

    Folders in object stores are not listed, because that would keep the shell waiting.
    """
    from components.errors import MasteryError
    from components.model_version.folders import find_versions

    try:
        folder = _serving_folder(ctx.params)
        numbers = [] if "://" in folder else [*find_versions(Path(folder)).paths]
    except (MasteryError, OSError):
        return []
    return [str(number) for number in reversed(numbers) if str(number).startswith(incomplete)]


def complete_version_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns labels and versions that begin with `incomplete`."""
    labels = [name for name in ("stable", "canary", "previous") if name.startswith(incomplete)]
    return labels + complete_versions(ctx, incomplete)


def _serving_folder(options: dict[str, Any]) -> str:
    if options.get("models"):
        return str(options["models"])
    if options.get("config"):
        root = Path(options.get("root") or RUNS)
        return pushed_to(Path(options["config"]), options.get("set_") or [], root)
    return ""


def pushed_to(config: Path, set_: list[str], root: Path) -> str:
    """Returns the folder or URL that `mastery run` with this configuration pushes to.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    from components.config import load_config
    from pipeline.layout import Layout

    loaded = load_config(config, set_)
    directory = loaded.push.directory
    if directory is not None and "://" in directory:
        return directory
    return str(Layout(root.resolve(), loaded.name).serving(loaded))


def open_folder(models: str | None, config: Path | None, set_: list[str], root: Path) -> Storage:
    """Returns the folder or place in an object store that versions are pushed to.

    Args:
        models: its path or URL, if given.
        config: otherwise the configuration, which says where `mastery run` pushes to.
        set_: overrides of its values.
        root: where runs keep everything.

    Raises:
        MasteryError: neither is given, or there is no such folder.
        ConfigError: the configuration cannot be used.
    """
    from components.errors import MasteryError
    from serving.models.stores import open_storage

    if models is not None:
        return open_storage(models)
    if config is None:
        raise MasteryError("expected --config FILE or --models DIR_OR_URL, found neither.")
    return open_storage(pushed_to(config, set_, root))


def load_and_fetch(config: Path, set_: list[str], *, offline: bool = False) -> Config:
    """Returns a configuration; what is new in its log was fetched, if it says from where.

    Every command that reads the log for the first time begins with this, so that the files which
    it finds are those of now. Commands about what was read before take them as they are.

    Args:
        config: the file.
        set_: overrides of its values.
        offline: whether to take the files as they are.

    Raises:
        ConfigError: the configuration cannot be used.
        MasteryError: it could not be fetched; files that were there before can still be read.
    """
    from components.config import load_config

    loaded = load_config(config, set_)
    if not offline:
        fetch_new(loaded)
    return loaded


def fetch_new(config: Config) -> None:
    """Fetches what is new in a log, if its configuration says from where, and prints what came.

    Raises:
        MasteryError: it could not be fetched; files that were there before can still be read.
    """
    if config.data.fetch is None:
        return
    from components.config.fetch import fetch_folder
    from components.errors import MasteryError
    from components.platforms.fetch.fetch import fetch_events

    try:
        for line in fetch_events(config.data.fetch, fetch_folder(config.data.events[0])):
            print(f"fetched    {line}", flush=True)
    except MasteryError as error:
        raise MasteryError(
            f"{error}\nFiles that were fetched before are as they were; `--offline` reads them."
        ) from None


ConfigOption = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The configuration, a YAML file.")
]
OptionalConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration that the versions were pushed with."
    ),
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value, e.g. training.epochs=5; repeatable."
    ),
]
RootOption = Annotated[
    Path, typer.Option("--root", metavar="DIR", help="Where runs keep everything.")
]
OfflineOption = Annotated[
    bool,
    typer.Option("--offline", help="Read the files that are there; fetch none (data.fetch)."),
]
NowOption = Annotated[
    str | None,
    typer.Option("--now", metavar="TIME", help="As if it were this time, e.g. 2026-03-02T06:00Z."),
]
SpanOption = Annotated[
    str | None,
    typer.Option(
        "--span", metavar="SPAN", help="newest, 2026-11-20, 42 or last:7; sets data.span."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

EventsOption = Annotated[
    list[str],
    typer.Option("--events", help="Events: a file, folder or pattern; repeatable."),
]
OutcomesOption = Annotated[
    list[str],
    typer.Option("--outcomes", help="Outcomes: a file, folder or pattern; repeatable."),
]

OptionalOutcomesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--outcomes",
        help="Outcomes: a file, folder or pattern; repeatable. Default: derived from the events, "
        "where the model's are.",
    ),
]

HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="URL",
        help="Address; default: $MASTERY_KUBEFLOW_HOST, then kubeflow.host.",
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", metavar="NAME", help="Namespace; default: kubeflow.namespace."),
]
ParamOption = Annotated[
    list[str],
    typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the pipeline; repeatable."),
]

ModelsOption = Annotated[
    str | None,
    typer.Option(
        "--models", metavar="DIR_OR_URL", help="The serving folder: a path, s3://... or gs://...."
    ),
]
VersionArgument = Annotated[
    int,
    typer.Argument(
        metavar="VERSION",
        parser=parse_version_number,
        help="As `mastery models list` shows it.",
        autocompletion=complete_versions,
    ),
]
NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="A number, or stable, canary, previous.",
        autocompletion=complete_version_names,
    ),
]

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="The answers' database: sqlite:///answers.db or postgresql://user@host/database; "
        "default: $MASTERY_ANSWERS_URL.",
    ),
]
