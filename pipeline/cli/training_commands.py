"""`mastery training-worker`: lends this machine to the Trainers of other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import finite


def training_worker(
    folder: Annotated[
        Path,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="The folder that all machines share: training.worker_folder.",
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST[:PORT]",
            help="Where other workers reach this one; default: this machine's address, any port.",
        ),
    ] = None,
    idle_minutes: Annotated[
        float | None,
        typer.Option(
            "--idle-minutes",
            metavar="N",
            min=0.1,
            callback=lambda value: value if value is None else finite(value),
            help="End after this long without work; default: never.",
        ),
    ] = None,
) -> None:
    """Work for Trainers on other machines, which share each batch with this one.

    Machines see the folder, and the root that the run keeps everything in, at the same paths. Start
    one on each machine, and one per GPU, each with its CUDA_VISIBLE_DEVICES; then run with
    training.workers and training.worker_folder. Stop it with Ctrl-C.

    Example:
        mastery training-worker --folder /shared/workers
    """
    from components.trainer.distributed.agent import parse_address, serve

    endpoint = parse_address(address)

    def tell(text: str) -> None:
        print(text, flush=True)

    serve(folder, endpoint, idle_minutes=idle_minutes, tell=tell)
