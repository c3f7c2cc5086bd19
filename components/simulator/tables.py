"""The tables `events` and `outcomes` of simulated learners: their columns, rows and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.simulator import learner_model as model
from components.simulator.sequences import CHUNK, Sequences

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.simulator.learner_model import Floats, Integers

Catalogue = Mapping[str, Sequence[str]]

TIMESTAMP = pa.timestamp("us", tz="UTC")
EVENTS = pa.schema(
    {
        "learner_id": pa.string(),
        "unit_id": pa.string(),
        "time": TIMESTAMP,
        "event_type": pa.string(),
        "knowledge_component": pa.string(),
        "dwell_seconds": pa.float32(),  # null if the end of the visit was not recorded
        "exercise_completed": pa.bool_(),  # null if not an exercise
        "correct": pa.int8(),  # null without an answer, or if lost
        "playback_speed": pa.float32(),  # null if not a video, or if lost
    }
)
OUTCOMES = pa.schema(
    {
        "learner_id": pa.string(),
        "unit_id": pa.string(),
        "as_of": TIMESTAMP,
        "mastery": pa.string(),
        **dict.fromkeys(model.ATTRIBUTES, pa.string()),
    }
)

_CLOCK = "%Y-%m-%dT%H:%M:%S%.3fZ"  # times in text files


def events_table(
    sequences: Sequences, learners: int | None = None, catalogue: Catalogue = model.CATALOGUE
) -> pa.Table:
    """Returns the recorded events of learners below `learners`, sorted by time.

    Args:
        sequences: of learners of one chunk.
        learners: default: all.
        catalogue: the components of each unit.
    """
    shown = sequences.recorded & _is_below(sequences, learners)
    exists = np.arange(sequences.time.shape[1]) < sequences.events[:, None]
    row, step = np.nonzero(exists & shown[:, None])
    order = np.argsort(sequences.time[row, step], kind="stable")
    row = row[order]
    step = step[order]

    unit = sequences.unit[row]
    component = unit * len(model.DIFFICULTY) + sequences.component[row, step]
    columns = [
        _names(_ids(sequences), sequences.learner[row] % CHUNK),
        _names(list(catalogue), unit),
        _timestamps(sequences.time[row, step]),
        _names(model.EVENT_TYPES, sequences.event_type[row, step]),
        _names([f"{of}/{name}" for of, names in catalogue.items() for name in names], component),
        _numbers(sequences.dwell[row, step]),
        _numbers(sequences.completed[row, step]),
        _numbers(sequences.correct[row, step]),
        _numbers(sequences.speed[row, step]),
    ]
    typed = [column.cast(dtype) for column, dtype in zip(columns, EVENTS.types, strict=True)]
    return pa.table(typed, schema=EVENTS)


def outcomes_table(
    sequences: Sequences, learners: int | None = None, catalogue: Catalogue = model.CATALOGUE
) -> pa.Table:
    """Returns one row per sequence of learners below `learners`, cold starts included.

    The arguments are those of `events_table`.
    """
    row = np.nonzero(_is_below(sequences, learners))[0]
    attributes = [
        _names(list(model.ATTRIBUTES[name]), codes[row])
        for name, codes in sequences.attributes.items()
    ]
    columns = [
        _names(_ids(sequences), sequences.learner[row] % CHUNK),
        _names(list(catalogue), sequences.unit[row]),
        _timestamps(sequences.as_of[row]),
        _names(model.CLASSES, sequences.label[row]),
        *attributes,
    ]
    return pa.table(columns, schema=OUTCOMES)


def _is_below(sequences: Sequences, learners: int | None) -> NDArray[np.bool_]:
    if learners is None:
        return np.ones(len(sequences.learner), dtype=bool)
    is_below: NDArray[np.bool_] = sequences.learner < learners
    return is_below


def _ids(sequences: Sequences) -> list[str]:
    first = int(sequences.learner[0]) // CHUNK * CHUNK
    return [f"learner-{number:07d}" for number in range(first, first + CHUNK)]


def _names(names: Sequence[str | None], codes: Integers) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _numbers(values: Floats) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null


def _timestamps(seconds: Floats) -> pa.Array:
    return pa.array(model.FIRST_DAY + np.rint(seconds * 1e6).astype("timedelta64[us]"), TIMESTAMP)


class TableFile:
    """A new file that Arrow tables are appended to; its suffix is its format.

    It is a context manager; the file is complete when the block ends.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._format = path.suffix.removeprefix(".")
        self._file = path.open("wb")
        self._parquet = None
        if self._format == "parquet":
            self._parquet = pq.ParquetWriter(self._file, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """Appends `table`; in Parquet it is a row group."""
        if self._parquet is not None:
            self._parquet.write_table(table)
            return
        self.write_frame(pl.DataFrame(pl.from_arrow(table)))

    def write_frame(self, frame: pl.DataFrame) -> None:
        """Appends rows to a text file."""
        frame = frame.with_columns(pl.col(pl.Datetime).dt.to_string(_CLOCK))
        if self._format == "csv":
            frame.write_csv(self._file, include_header=self._file.tell() == 0)
        else:
            frame.write_ndjson(self._file)

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._file.close()
