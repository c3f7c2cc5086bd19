"""`mastery predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli.options import SetOption, finite


def predict(
    events: Annotated[
        list[str], typer.Option("--events", help="Events: a file, folder or pattern; repeatable.")
    ],
    server: Annotated[
        str,
        typer.Option(
            "--server",
            metavar="URL",
            help="http://host:8501 (REST) or grpc://host:8500; s for TLS.",
        ),
    ],
    outcomes: Annotated[
        list[str] | None,
        typer.Option(
            "--outcomes",
            help="Whose answers, for which moments: learner, unit, as_of, and context.",
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="TIME", help="Instead: everybody in the events, at this moment."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The configuration the model was made with."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help="Instead: a pushed version, which holds it."),
    ] = None,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    version: Annotated[int | None, typer.Option("--version", help="Ask this version.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Ask the version of this label: stable, canary.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write to a .csv, .jsonl or .txt file."),
    ] = None,
    format_: Annotated[
        Literal["table", "csv", "jsonl"] | None,
        typer.Option("--format", help="Default: by the name of --out, else table."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Examples in a request.")
    ] = 64,
    deadline: Annotated[
        float,
        typer.Option(
            "--deadline", metavar="SECONDS", min=0.001, callback=finite, help="For each request."
        ),
    ] = 10.0,
    attempts: Annotated[
        int, typer.Option("--attempts", min=1, help="Tries while the server is busy or away.")
    ] = 5,
) -> None:
    """Ask a served model about the learners in a log: who has mastered what, as of when.

    Where the server wants a token, it is in $MASTERY_SERVE_TOKEN.
    """
    import os

    from components.command.program import write_data
    from components.config import load_config
    from components.errors import MasteryError
    from components.files.atomic import write_text
    from components.model_version.pushed_version import config_of
    from serving.client import Retry, connect
    from serving.predict import (
        format_answers,
        output_format,
        predict_questions,
        questions_from_log,
    )
    from serving.server.server_settings import TOKEN, read_token

    if (config is None) == (model is None):
        raise MasteryError(
            "expected --config or --model: how the events are read is part of the model."
        )
    made_with = load_config(config, set_) if config else config_of(model, name=str(model))  # type: ignore[arg-type]
    form = output_format(out, format_)
    retry = Retry(attempts=attempts, deadline=deadline)
    token = read_token(os.environ, TOKEN)
    with connect(
        server,
        made_with.name,
        version=version,
        label=label,
        retry=retry,
        batch=batch_size,
        token=token,
    ) as client:
        questions = questions_from_log(made_with, events, outcomes or [], as_of=as_of)
        text = format_answers(predict_questions(client, questions), form)
    if out:
        write_text(out, text)
        print(f"{len(questions.examples)} answers in {out}")
    elif form == "table":
        print(text, end="")
    else:
        write_data(text)
