"""`mastery models kserve` and `rollout`: what follows a canary, and what decides on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ModelsOption,
    OptionalConfigOption,
    RootOption,
    SetOption,
    open_folder,
)

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")
]


def kserve(
    manifest: Annotated[
        Path, typer.Argument(metavar="FILE", help="The manifest of the InferenceService.")
    ],
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    dry_run: DryRunOption = False,
) -> None:
    """Make KServe's manifest say what is served: the version and its share.

    Exit code 1: the model is out of service, and nothing was changed.

    Example:
        mastery models kserve inference-service.yaml --config configs/sample.yaml
    """
    from serving.models.kserve import write_kserve

    storage = open_folder(models, config, set_, root)
    print(write_kserve(storage, manifest, dry_run=dry_run))
