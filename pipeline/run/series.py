"""One run of several that belong together: folds of a log, spans of a backtest.

Each has a cache, so a series that was ended too early goes on where it stopped. A failed gate ends
nothing; a run that failed does, because what comes after it would be of something else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import MasteryError
from pipeline.run.local import run_pipeline
from pipeline.run.record import read_records

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.config import Config
    from components.contracts.run_record import RunRecord


class SeriesError(MasteryError):
    """A run of a series failed; the others are kept."""


class SeriesInterruptedError(MasteryError):
    """A run of a series was interrupted; the others are kept."""

    exit_code = 130


def run_one(
    config: Config, root: Path, *, name: str, kept: str, is_first: bool, console: PlainConsole
) -> RunRecord:
    """Runs one of a series to its end, whatever its gates.

    Args:
        config: what to run.
        root: the folder that keeps everything of it.
        name: what people call this one, such as `fold 3`.
        kept: which of the others are done if this one ends the series, and how to go on.
        is_first: whether an error before the run starts is as likely to be of all of them.
        console: where progress is shown.

    Raises:
        SeriesError: it failed.
        SeriesInterruptedError: Ctrl-C, or the process was asked to end.
        MasteryError: the first one could not start.
    """
    try:
        record = run_pipeline(config, root, console=console)
    except KeyboardInterrupt:
        raise SeriesInterruptedError(f"interrupted in {name}. {kept}") from None
    except MasteryError as error:
        if is_first:
            raise
        raise SeriesError(f"{name}: {error}\n{kept}") from error
    if record.state == "interrupted":
        raise SeriesInterruptedError(f"interrupted in {name}. {kept}")
    if record.state == "failed" or record.metrics is None:
        raise SeriesError(f"{name}: {record.error}\n{kept}")
    return record


def seconds_of(record: RunRecord, root: Path) -> float:
    """Returns how long the run took that made the metrics of a run: this one, or an earlier one."""
    same = [item for item in read_records(root, record.name) if item.metrics == record.metrics]
    return same[0].seconds or 0.0
