"""Commands that watch a version in service: `drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    JsonOption,
    OfflineOption,
    RootOption,
    SetOption,
    SpanOption,
    load_and_fetch,
    parse_version_number,
)

if TYPE_CHECKING:
    from pipeline.watch.skew import ServedAnswer

RETRAIN = 3  # exit code: retraining is called for


def drift(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    span: SpanOption = None,
    model_version: Annotated[
        int | None,
        typer.Option(
            "--model-version",
            metavar="VERSION",
            parser=parse_version_number,
            help="Compare with the data of this version; default: the one in service.",
        ),
    ] = None,
    served: Annotated[
        str | None,
        typer.Option(
            "--served",
            metavar="DIR_OR_URL",
            help="Compare what was served instead: a log of `mastery serve --prediction-log`.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="With --served: from this moment, UTC."),
    ] = None,
    json_: JsonOption = False,
    offline: OfflineOption = False,
) -> None:
    """Say whether new data are still like those of the version in service.

    Inputs, answers, labels and units are compared, each with an interval from drawing learners. The
    schema says how far a column may move: `drift_comparator`; `skew_comparator` with --served.

    Exit code 0: they are; 2: an error; 3: drift calls for retraining.

    Example:
        mastery drift --config configs/sample.yaml --span newest
    """
    from components.command.console import PlainConsole
    from components.command.program import write_data
    from components.errors import MasteryError
    from pipeline.cli.options import pushed_to
    from pipeline.watch.drift import measure_drift
    from pipeline.watch.show import print_drift
    from pipeline.watch.skew import measure_skew
    from serving.models.in_service import open_in_service
    from serving.models.stores import open_storage

    settings = [*set_, f"data.span={span}"] if span else set_
    if since is not None and served is None:
        raise MasteryError("--since: expected it with --served; --span chooses what is new.")
    loaded = load_and_fetch(config, settings, offline=offline or json_)
    storage = open_storage(pushed_to(config, settings, root))
    with open_in_service(storage, model_version) as folder:
        if served is None:
            report = measure_drift(loaded, version=folder, root=root)
        else:
            rows = _served(served, folder, since)
            report = measure_skew(loaded, rows, version=folder, root=root)

    if json_:
        write_data(report.to_json())
    else:
        print_drift(report, PlainConsole())
    raise typer.Exit(RETRAIN if report.calls_for_retraining else 0)


def _served(target: str, version: Path, since: str | None) -> list[ServedAnswer]:
    """Returns the rows of a prediction log that a version answered."""
    from components.contracts.manifest import Manifest
    from pipeline.watch.skew import ServedAnswer
    from serving.prediction_log.log_store import Query
    from serving.prediction_log.reading import open_log, parse_moment

    query = Query(since=parse_moment(since, "--since"), version=Manifest.read(version).version)
    with open_log(target) as (_, store):
        return [ServedAnswer(row.input_hash, row.answer) for row in store.read(query)]
