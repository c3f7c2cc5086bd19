"""What a run would read, told from names and times of files: whether there is something new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.spans import describe_spans
from components.event_log.problems import raise_if_any
from components.event_log.sources import find_files
from components.event_log.spans import choose_spans

if TYPE_CHECKING:
    from components.config import Config
    from components.event_log.sources import Listing
    from components.event_log.spans import ChosenSpans


@dataclass(frozen=True)
class Deliveries:
    """The files of a log that a run would read.

    Attributes:
        spans: names of the spans, oldest first; empty if the log is not divided into any.
        files: how many files, of events and outcomes.
        bytes: their size together.
        modified: when the newest of them was last written.
    """

    spans: list[str]
    files: int
    bytes: int
    modified: datetime

    def describe(self) -> str:
        """Returns it as one line for a terminal."""
        spans = f"{describe_spans(self.spans)}, " if self.spans else ""
        moment = f"{self.modified:%Y-%m-%d %H:%M:%S} UTC"
        return f"{spans}{self.files} files, {self.bytes:,} bytes, last written {moment}"

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON; another dictionary means that there may be something new."""
        return {
            "spans": self.spans,
            "files": self.files,
            "bytes": self.bytes,
            "modified": self.modified.isoformat(),
        }


def find_deliveries(config: Config) -> Deliveries:
    """Finds the files of the configured spans, and reads none of them.

    Raises:
        LogError: there are no files, or half a delivery.
    """
    data = config.data
    chosen = choose_spans([*data.events, *data.outcome_files], data.span)
    listings = find_tables(config, chosen).values()
    raise_if_any(problem for listing in listings for problem in listing.problems)

    found = [Path(file.path).stat() for listing in listings for file in listing.files]
    newest = max(status.st_mtime for status in found)
    return Deliveries(
        spans=chosen.names,
        files=len(found),
        bytes=sum(status.st_size for status in found),
        modified=datetime.fromtimestamp(newest, UTC),
    )


def find_tables(config: Config, chosen: ChosenSpans) -> dict[str, Listing]:
    """Returns the files of events and outcomes in some spans, with what is wrong about them."""
    data = config.data
    return {
        "events": find_files("events", chosen.fill(data.events), data.event_mapping),
        "outcomes": find_files("outcomes", chosen.fill(data.outcome_files)),
    }
