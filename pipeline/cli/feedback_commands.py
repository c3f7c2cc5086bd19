"""`mastery feedback`: what people said about answers, for the next training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli.options import NO_SETTINGS, DatabaseOption, OptionalConfigOption, SetOption


def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .csv or .parquet file to write.")
    ],
    db: DatabaseOption = None,
    as_: Annotated[
        Literal["outcomes", "table"],
        typer.Option("--as", help="Outcomes where people said what is true; or every action."),
    ] = "outcomes",
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Whose answers; needed if there are several."),
    ] = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
) -> None:
    """Write what people said about answers for the next training.

    Name the file under `data.outcomes` beside the others. With --config the file has the columns
    that this configuration's training reads, and no outcome that its log has already.

    Example:
        mastery feedback export --db answers.db --config configs/sample.yaml --out feedback.parquet
    """
    from components.config import load_config
    from serving.answers.database import open_database
    from serving.answers.feedback_export import export_feedback

    loaded = None if config is None else load_config(config, set_)
    engine = open_database(db, existing=True)
    print(export_feedback(engine, out, form=as_, model=model, config=loaded).describe())
