"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer


def finite(value: float) -> float:
    """Refuses nan and inf, which are valid numbers to Python."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, found {value}")
    return value


ConfigOption = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The configuration, a YAML file.")
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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
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
OptionalConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration that the versions were pushed by."
    ),
]
ModelsOption = Annotated[
    str | None,
    typer.Option(
        "--models", metavar="DIR_OR_URL", help="The serving folder: a path, s3://... or gs://...."
    ),
]
NameArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="A number, or stable, canary, previous.")
]
