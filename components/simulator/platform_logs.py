"""The simulated log as a platform writes it: what the writers of all formats share.

A writer is a module `components.simulator.PLATFORM_log` with a function `open_log(folder)`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, cast

import polars as pl

if TYPE_CHECKING:
    from types import TracebackType


class PlatformLog(Protocol):
    """New files of a log that events are appended to; complete when the block ends.

    Attributes:
        paths: the files of events, each of which exists at the end.
    """

    paths: list[Path]

    def write(self, events: pl.DataFrame) -> None:
        """Appends events.

        Args:
            events: the columns of `simulate.EVENTS`, with times of whole seconds in UTC, sorted by
                time; of one chunk of learners.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_platform_log(platform: str, folder: Path) -> PlatformLog:
    """Opens the log of a platform for writing, in a folder that exists."""
    module = import_module(f"components.simulator.{platform}_log")
    return cast("PlatformLog", module.open_log(folder))


def whole_seconds(events: pl.DataFrame) -> pl.DataFrame:
    """Returns events at the beginning of their second: Moodle keeps no fractions."""
    return events.with_columns(pl.col("time").dt.truncate("1s"))


def next_seconds(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Returns outcomes at the end of their second: they see the same events as before."""
    end = (pl.col("as_of") + pl.duration(microseconds=999_999)).dt.truncate("1s")
    return outcomes.with_columns(end)
