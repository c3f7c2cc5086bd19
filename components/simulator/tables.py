"""Sequences as the two tables of a log: events and outcomes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.simulator import learners as model
from components.simulator.learners import Floats, Integers
from components.simulator.sequences import CHUNK, Sequences

TIMESTAMP = pa.timestamp("us", tz="UTC")

EVENTS = pa.schema(
    {
        "learner_id": pa.string(),
        "unit_id": pa.string(),
        "time": TIMESTAMP,
        "event_type": pa.string(),
        "knowledge_component": pa.string(),
        "dwell_seconds": pa.float32(),  # null where nobody saw the page close
        "exercise_completed": pa.bool_(),  # null where no exercise
        "correct": pa.int8(),  # null where no answer, or lost
        "playback_speed": pa.float32(),  # null where no video, or lost
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

_COMPONENTS = [f"{unit}/{name}" for unit, names in model.CATALOGUE.items() for name in names]


def events_table(sequences: Sequences, learners: int) -> pa.Table:
    """Returns the recorded events of learners below `learners`, in the order of time, as a platform writes them."""
    shown = sequences.recorded & (sequences.learner < learners)
    exists = np.arange(sequences.time.shape[1]) < sequences.events[:, None]
    row, step = np.nonzero(exists & shown[:, None])
    order = np.argsort(sequences.time[row, step], kind="stable")
    row, step = row[order], step[order]
    unit = sequences.unit[row]
    columns = [
        _names(_ids(sequences), sequences.learner[row] % CHUNK),
        _names(list(model.CATALOGUE), unit),
        _timestamps(sequences.time[row, step]),
        _names(model.EVENT_TYPES, sequences.event_type[row, step]),
        _names(_COMPONENTS, unit * len(model.DIFFICULTY) + sequences.component[row, step]),
        *(_numbers(values[row, step]) for values in _measures(sequences)),
    ]
    return pa.table(
        [column.cast(kind) for column, kind in zip(columns, EVENTS.types, strict=True)],
        schema=EVENTS,
    )


def outcomes_table(sequences: Sequences, learners: int) -> pa.Table:
    """Returns one row for every sequence of learners below `learners`, cold starts too."""
    row = np.nonzero(sequences.learner < learners)[0]
    columns = [
        _names(_ids(sequences), sequences.learner[row] % CHUNK),
        _names(list(model.CATALOGUE), sequences.unit[row]),
        _timestamps(sequences.as_of[row]),
        _names(model.CLASSES, sequences.label[row]),
        *(
            _names(list(model.ATTRIBUTES[name]), codes[row])
            for name, codes in sequences.attributes.items()
        ),
    ]
    return pa.table(columns, schema=OUTCOMES)


def _measures(sequences: Sequences) -> tuple[Floats, Floats, Floats, Floats]:
    return sequences.dwell, sequences.completed, sequences.correct, sequences.speed


def _ids(sequences: Sequences) -> list[str]:
    first = int(sequences.learner[0]) // CHUNK * CHUNK
    return [f"learner-{number:07d}" for number in range(first, first + CHUNK)]


def _names(names: list[str] | list[str | None] | tuple[str, ...], codes: Integers) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _numbers(values: Floats) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null


def _timestamps(seconds: Floats) -> pa.Array:
    return pa.array(model.FIRST_DAY + np.rint(seconds * 1e6).astype("timedelta64[us]"), TIMESTAMP)
