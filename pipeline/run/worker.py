"""The process that runs the nodes of a local run: `python -m pipeline.run.worker RUN_FOLDER`.

It is separate from the command line so that TFX's output goes to log files, and so that the command
line can stop it at any moment, whatever C++ code it is in.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.command.explain import explain
from components.command.program import run_program
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import NodeRecords, RunResult

if TYPE_CHECKING:
    from pipeline.run.nodes import NodeChange


def main(folder: Path) -> int:
    """Runs the plan in `folder`; returns 0, or 1 if a node failed."""
    _end_with_parent()
    _log_to(folder / "logs" / "start.log")
    result = RunResult()
    try:
        # Imported here so that a broken installation is reported as a failed run.
        from pipeline.run.nodes import run_nodes

        run_nodes(RunPlan.read(folder), result, partial(_write_change, folder))
    except Exception as error:
        traceback.print_exc()
        result.error = explain(error)
        result.log = str(_current_log(folder))
    result.write(folder)
    return 1 if result.error else 0


def _write_change(folder: Path, change: NodeChange) -> None:
    """Writes the nodes' states to the run's folder, and gives each node a log of its own there."""
    if change.node.state == "running":
        _log_to(folder / "logs" / f"{change.node.id}.log")
    NodeRecords(nodes=change.nodes).write(folder)


def _log_to(path: Path) -> None:
    """Sends everything this process prints, C++ included, to `path`."""
    path.parent.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    os.dup2(target, sys.stdout.fileno())
    os.dup2(target, sys.stderr.fileno())
    os.close(target)


def _current_log(folder: Path) -> Path:
    return max((folder / "logs").iterdir(), key=lambda file: file.stat().st_mtime_ns)


def _end_with_parent() -> None:
    """Ends this process when the command line does: that closes our standard input."""

    def wait() -> None:
        # Not by `sys.stdin`: its lock would be held while the interpreter ends, which aborts.
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(run_program("mastery", lambda: main(Path(sys.argv[1]))))
