"""Reads examples as columns of values, each with its learner: what distributions are counted from.

Examples are those that ExampleGen writes: the events that an outcome sees, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.contracts.names import LEARNER, NUM_STEPS, SAMPLE_HASH
from components.event_log.learners import hash_ids
from components.files.records import in_batches, read_records

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_LEARNERS = 20_000  # of more, a sample is compared; an interval is then narrow enough

ColumnType = Literal["categorical", "numeric"]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class ColumnSample:
    """The values of a column.

    Attributes:
        values: text ("" where one is missing) or float64 (NaN where one is missing), [N].
        owners: the learner of each value, as a place among those of the sample, [N].
    """

    values: pl.Series
    owners: Ints

    @property
    def is_text(self) -> bool:
        """Whether the values are words, not numbers."""
        return self.values.dtype == pl.String


@dataclass(frozen=True)
class LogSample:
    """The columns of a log, or of a split of one.

    Attributes:
        learners: ids of the learners with enough events, [L].
        columns: by name.
        outcomes: of these learners.
        few_events: how many learners were left out for having fewer events.
    """

    learners: pl.Series
    columns: Mapping[str, ColumnSample]
    outcomes: int
    few_events: int = 0


def examples_of_split(folder: Path) -> Iterator[bytes]:
    """Yields the serialized examples of a split that ExampleGen wrote.

    Raises:
        OSError: the folder or a file cannot be read.
    """
    for file in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        yield from read_records(file)


def read_sample(
    examples: Iterable[bytes],
    columns: Mapping[str, ColumnType],
    *,
    steps: Iterable[str],
    min_steps: int,
    seed: str,
    most: int = MOST_LEARNERS,
) -> LogSample:
    """Reads examples of at most about `most` learners.

    Args:
        examples: serialized, with one outcome or several each.
        columns: what to read, and as what.
        steps: those that have a value per event; others have one per outcome.
        min_steps: learners none of whose outcomes sees so many events are left out.
        seed: of the sample, if there are more learners: `data.splits.seed`.
        most: how many learners are enough.
    """
    table = _read_table(examples, [LEARNER, NUM_STEPS, *columns], seed, most)
    ids, owner_of_example = _learners_of(table)
    counts = _lengths(table, NUM_STEPS)
    longest = _longest(table, owner_of_example, counts, len(ids))
    is_kept = longest >= min_steps
    place = np.cumsum(is_kept) - 1

    found = {}
    taken = frozenset(steps)
    for name, kind in columns.items():
        values, example = _values(table, name, kind)
        if name not in taken:  # an outcome without a value has none in its list
            values, example = _with_missing(values, example, counts - _lengths(table, name))
        owner = owner_of_example[example]
        mask = is_kept[owner]
        found[name] = ColumnSample(values.filter(pl.Series(mask)), place[owner[mask]])

    return LogSample(
        learners=ids.filter(pl.Series(is_kept)),
        columns=found,
        outcomes=int(counts[is_kept[owner_of_example]].sum()),
        few_events=int((~is_kept).sum()),
    )


def _read_table(
    examples: Iterable[bytes], names: list[str], seed: str, most: int
) -> dict[str, pa.Array]:
    """Decodes the named columns; whenever there are too many learners, half of them are dropped."""
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    decoder = ExamplesToRecordBatchDecoder()
    kept: list[pa.Table] = []
    limit = np.iinfo(np.uint64).max
    for window in in_batches(examples):
        batch = decoder.DecodeBatch(window)
        present = [name for name in batch.schema.names if name in names]
        kept.append(_of_sample(pa.Table.from_batches([batch]).select(present), seed, int(limit)))
        while sum(map(len, kept)) > most and _count_learners(kept) > most:
            limit //= 2
            kept = [_of_sample(table, seed, int(limit)) for table in kept]

    if not kept:
        return {}
    table = pa.concat_tables(kept, promote_options="permissive").combine_chunks()
    return {name: table[name].combine_chunks() for name in table.schema.names}


def _of_sample(table: pa.Table, seed: str, limit: int) -> pa.Table:
    if limit == np.iinfo(np.uint64).max:
        return table
    ids = _ids(table[LEARNER])
    hashes = hash_ids(ids, seed)
    chosen = hashes.filter(pl.col(SAMPLE_HASH) <= pl.lit(limit, pl.UInt64))[LEARNER]
    return table.filter(pa.array(ids.is_in(chosen.implode()).to_numpy()))


def _count_learners(tables: list[pa.Table]) -> int:
    return pl.concat([_ids(table[LEARNER]) for table in tables]).n_unique()


def _ids(lists: pa.ChunkedArray | pa.Array) -> pl.Series:
    column = pl.Series(LEARNER, lists)
    return column.list.first().cast(pl.String)


def _learners_of(table: Mapping[str, pa.Array]) -> tuple[pl.Series, Ints]:
    """Returns the ids of learners, sorted, and the place of each example's learner among them."""
    if not table:
        return pl.Series(LEARNER, [], pl.String), np.zeros(0, np.int64)
    of_example = _ids(table[LEARNER])
    ids = of_example.unique().sort()
    places = ids.search_sorted(of_example)
    assert isinstance(places, pl.Series), "a series was searched for"
    return ids, places.to_numpy().astype(np.int64)


def _longest(table: Mapping[str, pa.Array], owners: Ints, counts: Ints, learners: int) -> Ints:
    """Returns the most events that an outcome of each learner sees, [L]."""
    longest = np.zeros(learners, np.int64)
    if table:
        seen = table[NUM_STEPS].flatten().to_numpy()
        np.maximum.at(longest, np.repeat(owners, counts), seen)
    return longest


def _is_there(table: Mapping[str, pa.Array], name: str) -> bool:
    return name in table and not pa.types.is_null(table[name].type)


def _lengths(table: Mapping[str, pa.Array], name: str) -> Ints:
    """Returns how many values each example has, 0 where the column is absent."""
    if not _is_there(table, name):
        return np.zeros(len(table[LEARNER]) if table else 0, np.int64)
    lengths: Ints = pc.fill_null(pc.list_value_length(table[name]), 0).to_numpy()
    return lengths.astype(np.int64)


def _values(table: Mapping[str, pa.Array], name: str, kind: ColumnType) -> tuple[pl.Series, Ints]:
    """Returns the values of a column, and the example of each."""
    dtype = pl.String if kind == "categorical" else pl.Float64
    if not _is_there(table, name):
        return pl.Series(name, [], dtype), np.zeros(0, np.int64)
    lengths = _lengths(table, name)
    values = pl.Series(name, table[name].flatten()).cast(dtype)
    missing = "" if kind == "categorical" else float("nan")
    return values.fill_null(missing), np.repeat(np.arange(len(lengths)), lengths)


def _with_missing(values: pl.Series, example: Ints, missing: Ints) -> tuple[pl.Series, Ints]:
    absent = np.repeat(np.arange(len(missing)), np.maximum(missing, 0))
    if not len(absent):
        return values, example
    nothing = "" if values.dtype == pl.String else float("nan")
    filler = pl.Series(values.name, [nothing], values.dtype).new_from_index(0, len(absent))
    return values.append(filler), np.concatenate([example, absent])
