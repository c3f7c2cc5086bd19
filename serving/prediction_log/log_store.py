"""What can be done with a prediction log, wherever it is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from components.errors import MasteryError
from serving.prediction_log.frames import Row, erase_from_segment
from serving.prediction_log.settings import default_spool, is_database
from serving.prediction_log.spool import only_mover, segments


@dataclass(frozen=True)
class Query:
    """Which rows to read; None for all.

    Attributes:
        since: the first moment.
        until: the first moment after the last.
        version: the version that answered.
        label: the version label that was asked for.
        input_hash: of the input, in hexadecimal; its beginning is enough.
        shadow: answers that were returned (False), that were not (True), or both (None).
    """

    since: datetime | None = None
    until: datetime | None = None
    version: int | None = None
    label: str | None = None
    input_hash: str | None = None
    shadow: bool | None = False

    def has(self, row: Row) -> bool:
        """Returns whether a row is to be read."""
        return (
            (self.since is None or row.at >= self.since)
            and (self.until is None or row.at < self.until)
            and self.version in (None, row.version)
            and self.label in (None, row.label)
            and row.input_hash.startswith(self.input_hash or "")
            and self.shadow in (None, row.shadow)
        )


class LogStore(Protocol):
    """Where a prediction log is kept."""

    def add(self, segment: str, rows: Iterable[Row]) -> None:
        """Adds the rows of a file of the spool; adding them again changes nothing.

        Raises:
            StoreAwayError: it cannot be reached or is full; later it may work.
        """

    def read(self, query: Query) -> Iterator[Row]:
        """Yields rows, those of earlier days first."""

    def last(self, query: Query, count: int) -> list[Row]:
        """Returns the last rows, in the order of time."""

    def count_before(self, moment: datetime) -> int:
        """Returns how many rows are older than a midnight in UTC."""

    def purge(self, before: datetime) -> int:
        """Removes the rows that are older than a midnight in UTC, and returns their number."""

    def erase(self, hashes: Collection[str]) -> int:
        """Removes the rows of some inputs, and returns their number."""

    def close(self) -> None:
        """Closes connections; the log must not be used afterwards."""


class StoreAwayError(MasteryError):
    """A log cannot take rows now."""


def open_store(target: str) -> LogStore:
    """Returns the log in a folder or in a database.

    Raises:
        MasteryError: there is no such folder, or the database cannot be opened.
    """
    if is_database(target):
        from serving.answers.database import open_database
        from serving.prediction_log.database_log import DatabaseLog

        return DatabaseLog(open_database(target))

    from serving.prediction_log.parquet_log import ParquetLog

    if not Path(target).is_dir():
        raise MasteryError(
            f"{target}: expected the folder of a prediction log, found no such folder. "
            "`mastery serve --prediction-log DIR` makes it."
        )
    return ParquetLog(Path(target))


def kept_since(now: datetime, days: int) -> datetime:
    """Returns the midnight in UTC before which rows are removed.

    >>> kept_since(datetime(2026, 11, 27, 15, tzinfo=UTC), 1)
    datetime.datetime(2026, 11, 26, 0, 0, tzinfo=datetime.timezone.utc)
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days)


def delete_by_hashes(target: str, hashes: Collection[str], *, spool: Path | None = None) -> int:
    """Removes the rows of some inputs: from the log, and from the spool of running servers.

    Args:
        target: the log's folder or address.
        hashes: SHA-256 of the inputs, in hexadecimal; see `row_hashes`.
        spool: the servers' folder, if they were given one.

    Returns:
        The number of rows.

    Raises:
        MasteryError: the log cannot be opened, or a hash is none.
    """
    try:
        digests = {bytes.fromhex(text) for text in hashes}
    except ValueError:
        raise MasteryError("expected SHA-256 hashes in hexadecimal, found another text.") from None
    if any(len(digest) != 32 for digest in digests):
        raise MasteryError("expected SHA-256 hashes of 64 hexadecimal digits, found another text.")

    folder = spool or default_spool(target)
    with closing(open_store(target)) as store:
        if not folder.is_dir():  # no server of this machine has written to the database
            return store.erase({digest.hex() for digest in digests})
        with only_mover(folder, wait=True):
            erased = sum(erase_from_segment(path, digests) for path in segments(folder))
            return erased + store.erase({digest.hex() for digest in digests})
