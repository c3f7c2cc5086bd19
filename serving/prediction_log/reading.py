"""What people do with a prediction log: look at it, export it, and remove old rows."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from components.command.escape import shorten
from components.errors import MasteryError
from components.files.atomic import new_file
from serving.prediction_log.frames import Row
from serving.prediction_log.log_store import LogStore, Query, kept_since, open_store
from serving.prediction_log.settings import FILE_MODE, default_spool, is_database
from serving.prediction_log.spool import only_mover

if TYPE_CHECKING:
    from components.command.console import PlainConsole

SHOWN_HASH = 12  # digits; `--input-hash` takes them
SHOWN_LABEL = 20
SHOWN_ANSWER = 20  # characters, at least
AT_ONCE = 50_000  # rows in a group of an exported Parquet file


@contextmanager
def open_log(log: str | None) -> Iterator[tuple[str, LogStore]]:
    """Yields the address of a log that exists, and the log.

    Args:
        log: a folder, or the address of a database; None for `$MASTERY_ANSWERS_URL`.

    Raises:
        MasteryError: there is no such log.
    """
    from serving.answers.database import URL_VARIABLE

    target = log or os.environ.get(URL_VARIABLE)
    if not target:
        raise MasteryError(
            "expected the prediction log, as --log DIR_OR_URL or in "
            f"${URL_VARIABLE}; found neither."
        )
    with closing(open_store(target)) as store:
        yield target, store


def parse_moment(text: str | None, option: str) -> datetime | None:
    """Returns the moment that an option names; without a zone, it is in UTC.

    Raises:
        MasteryError: it is none.

    >>> parse_moment("2026-11-27", "--since").isoformat()
    '2026-11-27T00:00:00+00:00'
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MasteryError(
            f"{option}: expected a date or time such as 2026-11-27 or 2026-11-27T08:00+01:00, "
            f"found {shorten(text, 80)}."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def row_document(row: Row) -> dict[str, Any]:
    """Returns a row as JSON has it."""
    return {**row._asdict(), "at": row.at.isoformat()}


def print_rows(rows: list[Row], console: PlainConsole) -> None:
    """Prints one line per row."""
    from rich.table import Table

    if not rows:
        console.print("No such rows.")
        return

    lines = [
        (
            f"{row.at:%Y-%m-%d %H:%M:%S}",
            str(row.version),
            shorten(row.label or "–", SHOWN_LABEL),
            row.input_hash[:SHOWN_HASH],
            f"{row.latency * 1e3:.1f}",
        )
        for row in rows
    ]
    heads = ("Time (UTC)", "Version", "Label", "Input", "ms")
    taken = sum(max(map(len, column)) + 2 for column in zip(heads, *lines, strict=True))
    left = max(SHOWN_ANSWER, console.width - taken - 2)
    table = Table(*heads, "Answer", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    for row, line in zip(rows, lines, strict=True):
        answer = json.dumps(row.answer, ensure_ascii=False)
        table.add_row(*line, shorten(answer, left))
    console.print(table)


def purge(target: str, store: LogStore, days: int, *, dry_run: bool) -> int:
    """Removes the rows of over `days` days, and returns how many they are.

    Raises:
        MasteryError: the log cannot be written.
    """
    before = kept_since(datetime.now(UTC), days)
    if dry_run:
        return store.count_before(before)
    if is_database(target):
        return store.purge(before)
    with only_mover(default_spool(target), wait=True):
        return store.purge(before)


def export(store: LogStore, query: Query, path: Path) -> int:
    """Writes rows to a .parquet, .csv or .jsonl file, and returns their number.

    Raises:
        MasteryError: the file has another ending.
    """
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise MasteryError(
            f"{path}: expected a name that ends in {', '.join(_WRITERS)}, found another."
        )
    count = 0

    def counted() -> Iterator[Row]:
        nonlocal count
        for row in store.read(query):
            count += 1
            yield row

    with new_file(path) as beside:
        with beside.open("wb") as file:
            write(file, counted())
        beside.chmod(FILE_MODE)
    return count


def _write_jsonl(file: IO[bytes], rows: Iterable[Row]) -> None:
    for row in rows:
        file.write(json.dumps(row_document(row), ensure_ascii=False).encode() + b"\n")


def _write_csv(file: IO[bytes], rows: Iterable[Row]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in rows:
        document = row_document(row)
        answer = json.dumps(row.answer, ensure_ascii=False)
        writer.writerow({**document, "answer": answer}.values())
    text.detach()


def _write_parquet(file: IO[bytes], rows: Iterable[Row]) -> None:
    import pyarrow.parquet as pq

    from serving.prediction_log.parquet_log import as_table

    left = iter(rows)
    first = as_table(list(islice(left, AT_ONCE))).to_arrow()
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        while part := list(islice(left, AT_ONCE)):
            writer.write_table(as_table(part).to_arrow())


_WRITERS: dict[str, Callable[[IO[bytes], Iterable[Row]], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
