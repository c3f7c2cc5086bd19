"""`mastery beam-workers`: runs our code for the TaskManagers of a Flink cluster."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer


def workers(
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65535, help="To listen on; 0: any free one."
        ),
    ] = 50000,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0: all of this machine's.")
    ] = "127.0.0.1",
) -> None:
    """Run SDK workers of Beam for the TaskManagers of a Flink cluster.

    Runs until SIGTERM or Ctrl-C. Beside each TaskManager, or one for all of a machine;
    `beam.sdk_workers` is set to its host:port. Who reaches the port can have it run any code, so
    only TaskManagers should. Files of the log and of runs have to be at the same paths here.

    Example:
        mastery beam-workers --port 50000
    """
    from pipeline.beam_workers import serve_workers

    serve_workers(host, port, partial(print, flush=True))
