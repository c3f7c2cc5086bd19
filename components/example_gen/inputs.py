"""How the patterns of the two tables travel in TFX's input configuration: one split per pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfx.proto import example_gen_pb2

from components.event_log.files import Listing, find_files
from components.event_log.problems import raise_if_any

TABLES = ("events", "outcomes")


def input_splits(
    events: Sequence[str], outcomes: Sequence[str]
) -> list[example_gen_pb2.Input.Split]:
    """Returns input splits named `events-1`, `events-2`, ..., `outcomes-1`, ..."""
    return [
        example_gen_pb2.Input.Split(name=f"{table}-{number}", pattern=pattern)
        for table, patterns in zip(TABLES, (events, outcomes), strict=True)
        for number, pattern in enumerate(patterns, start=1)
    ]


def input_patterns(splits: Iterable[example_gen_pb2.Input.Split]) -> dict[str, list[str]]:
    """Returns the patterns behind input splits, by table."""
    patterns: dict[str, list[str]] = {table: [] for table in TABLES}
    for split in splits:
        patterns[split.name.partition("-")[0]].append(split.pattern)
    return patterns


def find_inputs(splits: Iterable[example_gen_pb2.Input.Split]) -> dict[str, Listing]:
    """Finds the files of each table behind input splits without placeholders.

    Raises:
        LogError: files are missing, or cannot be used.
    """
    found = {
        table: find_files(table, patterns) for table, patterns in input_patterns(splits).items()
    }
    raise_if_any(problem for listing in found.values() for problem in listing.problems)
    return found
