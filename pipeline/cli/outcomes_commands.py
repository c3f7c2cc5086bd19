"""`mastery answers outcomes`: what turned out to be true comes back beside what was answered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    DatabaseOption,
    OptionalConfigOption,
    OutcomesOption,
    SetOption,
)


def outcomes(
    outcomes: OutcomesOption,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="DIR", help="A pushed version's folder, instead of --config."
        ),
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Store outcomes that came in, to see what each version got right.

    Each outcome is put beside the last answer about its learner and unit as of its own moment or
    earlier, at most 28 days back. The board's page of versions shows the result. A repetition
    changes nothing.

    Example:
        mastery answers outcomes --db answers.db --outcomes march.csv --config configs/sample.yaml
    """
    from datetime import UTC, datetime

    from components.config import load_config
    from components.errors import MasteryError
    from components.event_log.known_outcomes import read_outcomes
    from components.model_version.pushed_version import config_of
    from serving.answers.database import open_database
    from serving.answers.outcomes import store_outcomes

    if config is not None and model is None:
        loaded = load_config(config, set_)
    elif model is not None and config is None:
        loaded = config_of(model, name=str(model))
    else:
        raise MasteryError(
            "expected either --config or --model: which column of the outcomes holds the label, "
            "and its classes."
        )
    rows = read_outcomes(loaded, outcomes)
    engine = open_database(db, existing=True)
    print(store_outcomes(engine, rows, loaded.label, now=datetime.now(UTC)).describe())
