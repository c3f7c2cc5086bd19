"""The simulated log as a platform writes it: what the writers of all formats share.

A writer is a module `components.simulator.PLATFORM_log` with a function `open_log(folder)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import polars as pl

if TYPE_CHECKING:
    from types import TracebackType

# By platform: the file that tells of all events; Moodle has further tables of the same ones.
FILES = {
    "moodle": "logstore_standard_log.csv",
    "open_edx": "tracking.log.gz",
    "xapi": "events.jsonl",
    "caliper": "events.jsonl",
}


class PlatformLog(Protocol):
    """New files of a log that events are appended to; complete when the block ends.

    Attributes:
        paths: the files of events, each of which exists at the end.
    """

    paths: list[Path]

    def write(self, events: pl.DataFrame) -> None:
        """Appends events.

        Args:
            events: the columns of `tables.EVENTS`, with times of whole seconds in UTC, sorted by
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


def json_text(value: Any) -> pl.Expr:
    """Returns a record, or a part of one, as JSON text.

    It is written as the object that it is. Its text has columns in braces, of text that needs no
    escapes; a member whose column has no value is left out, and so is an object without its first
    member.

    >>> record = {"user": {"id": "user-{learner}"}, "grade": pl.col("correct")}
    >>> frame = pl.DataFrame({"learner": ["7", "8"], "correct": ["1", None]})
    >>> frame.select(json_text(record)).to_series().to_list()
    ['{"user":{"id":"user-7"},"grade":1}', '{"user":{"id":"user-8"}}']

    Args:
        value: what JSON holds, or an expression of JSON text.
    """
    if value is None:
        return pl.lit(None, pl.String)
    if isinstance(value, Mapping):
        first, *others = (_member(name, item) for name, item in value.items())
        further = (pl.concat_str(pl.lit(","), member).fill_null("") for member in others)
        return pl.concat_str(pl.lit("{"), first, *further, pl.lit("}"))
    if isinstance(value, list):
        items = pl.concat_str(*map(json_text, value), separator=",")
        return pl.concat_str(pl.lit("["), items, pl.lit("]"))
    if isinstance(value, pl.Expr):
        return value
    text, *pieces = json.dumps(value).replace("}", "{").split("{")
    found = [pl.lit(text)]
    for place, piece in enumerate(pieces):
        found.append(pl.lit(piece) if place % 2 else pl.col(piece))
    return pl.concat_str(found)


def _member(name: str, value: Any) -> pl.Expr:
    return pl.concat_str(json_text(name), pl.lit(":"), json_text(value))
