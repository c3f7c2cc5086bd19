"""The inputs of one learner as of a moment: as the log has them now, and as it had them then.

Logs grow: an event may arrive hours after it happened, and after the answer. So beside the input of
all events there are *variants* without those that may have arrived late: the last ones of the log,
in the order of its files and rows, or any single one. A variant whose hash was logged, or whose
answer was stored, says which events those were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from components.contracts.contract import Part
from components.contracts.names import AS_OF, EVENT_TYPE, LEARNER, NUM_STEPS, ORDER, TIME, UNIT
from components.errors import MasteryError
from components.event_log.chunks import FILE_SHIFT, number_of
from components.event_log.clocks import Clock, to_clock
from components.event_log.known_outcomes import derive_outcomes
from components.event_log.log import TableRead, read_files, read_moment
from components.event_log.log_spec import LogSpec, question_spec
from components.event_log.point_in_time import find_windows, with_gaps
from components.event_log.problems import raise_if_any
from components.event_log.sources import find_files
from components.event_log.spans import choose_spans
from components.event_log.tables import events_table
from components.event_log.tally import merge_tallies
from components.event_log.timescales import common_clock, judge_clock
from components.example_gen.encoding import encode, join_batches
from serving.answers.scoring.job import learners_table, newest_rows

if TYPE_CHECKING:
    from components.config import Config

MOST_LATE = 200  # events before the moment that are tried, the last ones of the log


class LateEvent(Part):
    """An event that was not there yet.

    Attributes:
        time: when it happened.
        unit_id: its unit.
        event_type: what it was, where the log says so.
        place: its file and row.
    """

    time: str
    unit_id: str
    event_type: str | None
    place: str


@dataclass(frozen=True)
class Variant:
    """An input of the model.

    Attributes:
        example: a serialized `tf.Example`, as clients send it.
        late: the events that it leaves out.
    """

    example: bytes
    late: tuple[LateEvent, ...]

    @property
    def hash(self) -> str:
        """The hash under which the prediction log has it."""
        return hashlib.sha256(self.example).hexdigest()


@dataclass(frozen=True)
class Question:
    """What a version is asked about a learner in a unit.

    Attributes:
        unit_id: the unit.
        as_of: the moment, in the log's clock.
        joined: the row that examples are made from, with all events before the moment.
        events: how many these are.
        last_event: when the last of them was; None without any.
        variants: the input of all events, and then those that lack some.
    """

    unit_id: str
    as_of: Any
    joined: pl.DataFrame
    events: int
    last_event: Any
    variants: list[Variant]


class LearnerLog:
    """The events of one learner, and what else the model reads of him or her."""

    def __init__(self, config: Config, learner: str, tables: Sequence[str] | None) -> None:
        """Reads the log once.

        Args:
            config: of the version, with the log's place.
            learner: the id.
            tables: files with the columns of learners, as `mastery score --learners` reads them;
                None for the log's outcomes.

        Raises:
            LogError: the log cannot be used.
            MasteryError: it has no event of this learner.
        """
        self._config = config
        self._spec = question_spec(config)
        data = config.data
        chosen = choose_spans([*data.events, *data.outcome_files], data.span)
        events = find_files("events", chosen.fill(data.events), self._spec.mapping)
        self._read = read_files(events_table(self._spec), events)
        tally = merge_tallies(self._read.tallies)
        raise_if_any([*tally.problems, *judge_clock(tally.clocks)])
        clock = common_clock(tally.clocks)
        if clock is None or not self._read.chunks:
            raise MasteryError("data.events: expected at least one row, found none.")

        self._clock: Clock = clock
        mine = [_on_clock(chunk, learner, TIME, clock, self._spec) for chunk in self._read.chunks]
        self._events = pl.concat(mine)
        if self._events.is_empty():
            raise MasteryError(f"the log has no event of the learner {learner}.")
        self._context = None
        if self._spec.outcome_columns:
            given = None if data.derived is not None else chosen.fill(data.outcome_files)
            self._context = self._find_context(learner, tables or given)

    def moment(self, text: str) -> Any:
        """Returns a moment in the log's clock.

        Raises:
            MasteryError: it is no time of that kind.
        """
        read = read_moment(text, self._spec.timezone)
        try:
            return to_clock(read.values, self._clock, self._spec.timezone)[0]
        except (ValueError, pl.exceptions.PolarsError):
            raise MasteryError(
                f"--as-of: expected a time of the log's kind ({self._clock.dtype}), found {text!r}."
            ) from None

    def units(self, moment: Any) -> list[str]:
        """Returns the units in which the learner has events before a moment."""
        seen = self._events.filter(pl.col(TIME) < pl.lit(moment, self._clock.dtype))
        return sorted(seen[UNIT].unique())

    def question(self, unit: str, moment: Any) -> Question:
        """Returns what the version is asked about a unit."""
        keys = {LEARNER: [""], UNIT: [unit], AS_OF: [moment]}
        asked = pl.DataFrame(keys, schema_overrides={AS_OF: self._clock.dtype})
        events = self._events
        if self._spec.history == "unit":
            events = events.filter(pl.col(UNIT) == unit)
        seen = events.filter(pl.col(TIME) < pl.lit(moment, self._clock.dtype)).sort(ORDER)
        left_out = _left_out(seen[ORDER].to_list())

        joined = self._join(self._events, asked, left_out)
        examples = encode(joined, self._inputs())
        known: dict[bytes, Variant] = {}
        for orders, example in zip(left_out, examples, strict=True):
            if example not in known:
                known[example] = Variant(example, self._late(seen, orders))
        return Question(
            unit_id=unit,
            as_of=moment,
            joined=joined[:1],
            events=seen.height,
            last_event=seen[TIME].max(),
            variants=[*known.values()],
        )

    def _join(
        self, events: pl.DataFrame, asked: pl.DataFrame, left_out: list[tuple[int, ...]]
    ) -> pl.DataFrame:
        """Returns a joined row per variant: each is a learner of its own, whom no input names.

        Args:
            events: of all units: the next event, in whichever unit, ends an event.
            asked: the question.
            left_out: the events that each variant does not have.
        """
        numbered = [
            events.filter(~pl.col(ORDER).is_in(list(orders))).with_columns(
                pl.lit(f"{number:06}").alias(LEARNER)
            )
            for number, orders in enumerate(left_out)
        ]
        rows = pl.concat(
            asked.with_columns(pl.lit(f"{number:06}").alias(LEARNER))
            for number in range(len(left_out))
        )
        if self._context is not None:
            rows = rows.hstack(self._context_of(asked, rows.height))
        spec = self._spec
        of_all = with_gaps(pl.concat(numbered), spec)
        windows = find_windows(of_all, rows, spec.max_steps, spec.sequence_keys)
        return pl.concat(join_batches(windows, rows, list(spec.features)))

    def _inputs(self) -> list[str]:
        config = self._config
        names = [NUM_STEPS, *config.context, *config.prior.group_by, *self._spec.features]
        return [*dict.fromkeys(names)]

    def _find_context(self, learner: str, tables: Sequence[str] | None) -> pl.DataFrame:
        """Returns the learner's rows of columns that the model reads besides events."""
        if tables:
            return self._read_context(learner, tables)
        derived = pl.concat(derive_outcomes(self._config))
        mine = derived.filter(pl.col(LEARNER) == learner).with_columns(pl.lit("").alias(LEARNER))
        columns = self._spec.outcome_columns
        return mine.select(LEARNER, UNIT, AS_OF, *columns).cast(self._types())  # type: ignore[arg-type]

    def _types(self) -> dict[str, Any]:
        spec = self._spec
        return {
            name: pl.String() if spec.inputs[name] == "categorical" else pl.Float32()
            for name in spec.outcome_columns
        }

    def _read_context(self, learner: str, tables: Sequence[str]) -> pl.DataFrame:
        spec = self._spec
        found = find_files("learners", tables)
        raise_if_any(found.problems)
        read = read_files(learners_table(spec, found.files[0]), found)
        raise_if_any(merge_tallies(read.tallies).problems)
        types = self._types()
        chunks = []
        for chunk in read.chunks:
            mine = chunk.filter(pl.col(LEARNER) == learner)
            if AS_OF in chunk.columns:
                times = to_clock(mine[AS_OF], self._clock, spec.timezone)
                mine = mine.with_columns(times)
            chunks.append(mine.cast(types))  # type: ignore[arg-type]
        return pl.concat(chunks, how="diagonal").with_columns(pl.lit("").alias(LEARNER)).sort(ORDER)

    def _context_of(self, asked: pl.DataFrame, count: int) -> list[pl.Series]:
        assert self._context is not None, "the caller has looked"
        place = newest_rows(asked, self._context)[0]
        columns = self._context.select(self._spec.outcome_columns)
        places = pl.Series([place] * count, dtype=pl.UInt32)
        return [columns[name].gather(places) for name in columns.columns]

    def _late(self, seen: pl.DataFrame, orders: Sequence[int]) -> tuple[LateEvent, ...]:
        rows = seen.filter(pl.col(ORDER).is_in(list(orders))).sort(TIME, ORDER)
        return tuple(
            LateEvent(
                time=format_moment(row[TIME]),
                unit_id=row[UNIT],
                event_type=row.get(EVENT_TYPE),
                place=_place(row[ORDER], self._read),
            )
            for row in rows.iter_rows(named=True)
        )


def format_moment(value: Any) -> str:
    """Returns a time as people read it."""
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _left_out(orders: list[int]) -> list[tuple[int, ...]]:
    """Returns which events each variant leaves out: none, then ever more of the last, then one."""
    last = orders[-MOST_LATE:]
    suffixes = [tuple(last[place:]) for place in range(len(last) - 1, -1, -1)]
    singles = [(order,) for order in last[:-1]]
    return [(), *suffixes, *singles]


def _on_clock(
    chunk: pl.DataFrame, learner: str, column: str, clock: Clock, spec: LogSpec
) -> pl.DataFrame:
    mine = chunk.filter(pl.col(LEARNER) == learner)
    return mine.with_columns(to_clock(mine[column], clock, spec.timezone))


def _place(order: int, read: TableRead) -> str:
    file = read.files[order >> FILE_SHIFT]
    return f"{file.path}, {file.unit} {number_of(order)}"
