"""Progress from inside a node, for the runner to show: a file per node, a line per report."""

from __future__ import annotations

import os
from pathlib import Path

PROGRESS_FILE = "MASTERY_PROGRESS"  # environment variable: the file of the node in this process


def report_progress(text: str) -> None:
    """Adds a line to the progress of the current node; does nothing if no runner reads it.

    Args:
        text: such as `epoch 3/30, val_loss 0.412`; line breaks become blanks.
    """
    path = os.environ.get(PROGRESS_FILE)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text.replace("\n", " ") + "\n")


def keep_progress(run: Path, node: str) -> None:
    """Makes this process report the progress of a node.

    Args:
        run: the folder of the run.
        node: the node's id.
    """
    file = _file_of(run, node)
    file.parent.mkdir(exist_ok=True)
    os.environ[PROGRESS_FILE] = str(file)


def latest_progress(run: Path, node: str) -> str:
    """Returns the last line that a node has reported, empty if there is none yet."""
    file = _file_of(run, node)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return lines[-1] if lines else ""


def _file_of(run: Path, node: str) -> Path:
    return run / "progress" / f"{node}.txt"
