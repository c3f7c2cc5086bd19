"""Derived outcomes are those of a brute-force reading, and see nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import Config
from components.errors import LogError
from components.event_log import shuffle
from components.event_log.known_outcomes import derive_outcomes
from components.event_log.log import read_log
from components.example_gen.examples import examples_from_log
from tests.components.event_log.brute_force import LEARNERS, UNITS, Event, Rules, derive

DAY0 = datetime(2026, 3, 1, tzinfo=UTC)
SCORES = (0.0, 0.3, 0.5, 0.7, 1.0)  # .3 and .7 are others in 32 bits
TWO = {"inactivity", "completion", "passed"}

events = st.lists(
    st.builds(
        Event,
        st.sampled_from(LEARNERS),
        st.sampled_from(UNITS),
        st.integers(0, 12),
        st.sampled_from(["quiz", "video", "exam"]),
        st.sampled_from([None, 0.0, 1.0]),
        st.sampled_from([None, None, 0.0, 1.0]),
        st.sampled_from([None, None, *SCORES]),
    ),
    min_size=1,
    max_size=30,
)
grades = st.dictionaries(
    st.tuples(st.sampled_from(LEARNERS), st.sampled_from([None, *UNITS])),
    st.sampled_from([None, *SCORES]),
    min_size=1,
)


@st.composite
def rules(draw: st.DrawFn) -> tuple[Rules, list[str]]:
    """Draws how outcomes are derived, and the classes; none for a number."""
    kind = draw(st.sampled_from([*sorted(TWO), "next_answers", "grade", "grade"]))
    window = draw(st.one_of(st.none(), st.integers(1, 5)))
    found = Rules(
        derive=kind,
        at=draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)),
        after=draw(st.sampled_from(["learner", "unit", "clock"])),
        window=window or 3 if kind == "inactivity" else window,
        until=draw(st.one_of(st.none(), st.integers(3, 15))),
        event_types=draw(st.sampled_from([[], ["exam"], ["exam", "quiz"]])),
    )
    if kind == "passed":
        found.min_score = draw(st.sampled_from([0.3, 0.5, 0.7]))
        if found.event_types and draw(st.booleans()):
            found.min_score = None
    if kind == "next_answers":
        found.next = draw(st.integers(1, 3))
    if kind == "grade" and draw(st.booleans()):
        found.grades = draw(grades)
        found.event_types = []
    if kind in TWO:
        return found, ["no", "yes"]
    if draw(st.booleans()):
        return found, []
    found.cuts = [1] if kind == "next_answers" else [0.3, 0.7]
    return found, ["low", "middle", "high"][: len(found.cuts) + 1]


def time_of(number: int, clock: str) -> Any:
    """Returns a time of the log; seconds since 1970 and timestamps count days."""
    if clock == "timestamps":
        return DAY0 + timedelta(days=number)
    if clock == "seconds":
        return int(DAY0.timestamp()) + 86_400 * number
    return number / 2 if clock == "halves" else number


def number_of(time: Any, clock: str) -> int:
    """Returns the number whose time it is."""
    if clock == "timestamps":
        return int((time - DAY0).days)
    if clock == "seconds":
        return int(time - DAY0.timestamp()) // 86_400
    return int(time * 2) if clock == "halves" else int(time)


def section(rules: Rules, clock: str, folder: Path) -> dict[str, Any]:
    """Returns the rules as a configuration spells them."""
    is_calendar = clock in ("timestamps", "seconds")

    def length(number: int) -> str:
        return f"{number * 24}h" if is_calendar else str(time_of(number, clock))

    def moment(number: int) -> str:
        if is_calendar:
            return (DAY0 + timedelta(days=number)).date().isoformat()
        return str(time_of(number, clock))

    is_date = rules.after == "clock" and is_calendar
    found = {
        "derive": rules.derive,
        "at": [moment(at) if is_date else length(at) for at in rules.at],
        "after": "learner" if is_date else rules.after,
        "window": None if rules.window is None else length(rules.window),
        "until": None if rules.until is None else moment(rules.until),
        "cuts": rules.cuts,
        "event_types": rules.event_types,
        "min_score": rules.min_score,
        "table": [] if rules.grades is None else [str(folder / "grades.csv")],
    }
    return {**found, "next": rules.next} if rules.derive == "next_answers" else found


def rounded(outcomes: list[Any]) -> list[Any]:
    """Returns outcomes in one order, numbers as 32 bits hold them."""
    return sorted(
        (*key, round(label, 6) if isinstance(label, float) else label) for *key, label in outcomes
    )


class LogFiles:
    """A log in a folder, and its configuration."""

    def __init__(self, folder: Path, clock: str, rules: Rules, classes: list[str]) -> None:
        self.folder, self.clock, self.rules, self.classes = folder, clock, rules, classes

    def write(self, events: list[Event], name: str = "all") -> None:
        """Writes a file of events."""
        columns = {
            "learner_id": [event.learner for event in events],
            "unit_id": [event.unit for event in events],
            "time": [time_of(event.time, self.clock) for event in events],
            "event_type": [event.type for event in events],
            "correct": pl.Series([event.correct for event in events], dtype=pl.Float32),
            "completed": pl.Series([event.completed for event in events], dtype=pl.Float64),
            "score": pl.Series([event.score for event in events], dtype=pl.Float64),
        }
        (self.folder / "events").mkdir(exist_ok=True)
        pl.DataFrame(columns).write_parquet(self.folder / "events" / f"{name}.parquet")
        if self.rules.grades is not None:
            lines = [
                f"{learner},{unit or ''},{'' if grade is None else grade}\n"
                for (learner, unit), grade in self.rules.grades.items()
            ]
            text = "learner_id,unit_id,grade\n" + "".join(lines)
            (self.folder / "grades.csv").write_text(text)

    def config(self, history: str = "unit") -> Config:
        """Returns the configuration."""
        label = {"column": "label", "classes": self.classes}
        if not self.classes:
            label = {"column": "label", "task": "regression"}
        return Config.model_validate(
            {
                "name": "test",
                "schema": "s",
                "data": {
                    "events": str(self.folder / "events"),
                    "outcomes": section(self.rules, self.clock, self.folder),
                },
                "label": label,
                "steps": {
                    "history": history,
                    "features": {
                        "event_type": {"type": "categorical"},
                        "correct": {"type": "numeric"},
                        "time_to_as_of": {"type": "numeric"},
                    },
                },
                "gates": [{"metric": "accuracy" if self.classes else "mse", "min": 0}],
            }
        )

    def outcomes(self, rows: pl.DataFrame) -> list[tuple[str, str, int, Any]]:
        """Returns rows of outcomes as `brute_force.derive` does, sorted."""
        keys = rows.select("learner_id", "unit_id", "as_of", "label").iter_rows()
        return rounded([(*key, number_of(as_of, self.clock), label) for *key, as_of, label in keys])


clocks = st.sampled_from(["timestamps", "seconds", "numbers", "halves"])


@settings(max_examples=100)
@given(events, rules(), clocks, st.sampled_from(["unit", "learner"]))
def test_outcomes_are_those_of_a_brute_force_reading(
    events: list[Event], drawn: tuple[Rules, list[str]], clock: str, history: str
) -> None:
    if clock == "seconds":  # one time alone is not known to be seconds since 1970
        events = [*events, replace(events[0], time=12), replace(events[0], time=11)]
    expected, none = derive(events, *drawn)
    with TemporaryDirectory() as folder:
        log = LogFiles(Path(folder), clock, *drawn)
        log.write(events)
        if not expected:
            with pytest.raises(LogError, match="at least one outcome"):
                read_log(log.config(history), splits=False, keys_only=False)
            return
        read = read_log(log.config(history), splits=False, keys_only=False)
        assert log.outcomes(read.part.outcomes) == rounded(expected)
        assert read.total.unasked == none
        [example, *_] = examples_from_log(log.config(history))
        assert b"event_type" in example
        assert b"score" not in example
        assert b"completed" not in example


@settings(max_examples=40)
@given(events, rules(), st.data())
def test_parts_and_files_in_any_order_change_nothing(
    events: list[Event], drawn: tuple[Rules, list[str]], data: st.DataObject
) -> None:
    expected, _ = derive(events, *drawn)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        log = LogFiles(Path(folder), "timestamps", *drawn)
        names = data.draw(st.permutations("abc"))
        for learner, name in zip(LEARNERS, names, strict=True):
            log.write([event for event in events if event.learner == learner], name)
        patch.setattr(shuffle, "VALUES_PER_PART", 40)
        patch.setattr(shuffle, "VALUES_PER_RUN", 50)
        if not expected:
            with pytest.raises(LogError, match="at least one outcome"):
                list(derive_outcomes(log.config()))
            return
        frames = list(derive_outcomes(log.config()))
        assert log.outcomes(pl.concat(frames)) == rounded(expected)


@settings(max_examples=40)
@given(events, rules(), st.data(), st.sampled_from(["unit", "learner"]))
def test_an_outcome_sees_no_future(
    events: list[Event], drawn: tuple[Rules, list[str]], data: st.DataObject, history: str
) -> None:
    asked, classes = drawn
    window = asked.window or 3
    asked = replace(asked, at=asked.at[:1], after="clock", until=asked.until or 13, window=window)
    [moment] = asked.at
    other = data.draw(st.lists(st.sampled_from(events), max_size=4))
    later = [
        replace(event, time=max(event.time, moment), type="exam", correct=1.0, score=1.0)
        for event in other
    ]
    futures = {
        "moment": [event for event in events if event.time < moment] + later,
        "window": [event for event in events if event.time < moment + window]
        + [replace(event, time=max(event.time, moment + window)) for event in later],
    }
    found = {
        name: _read(log, classes, asked, history)
        for name, log in {"true": events, **futures}.items()
    }
    for name in found["true"].keys() & found["moment"].keys():
        assert found["true"][name][0] == found["moment"][name][0]
    assert found["true"] == found["window"]


def _read(
    events: list[Event], classes: list[str], rules: Rules, history: str
) -> dict[tuple[str, str], tuple[list[Any], Any]]:
    """Returns what each outcome sees, and its label, by learner and unit."""
    if not derive(events, rules, classes)[0]:
        return {}
    with TemporaryDirectory() as folder:
        log = LogFiles(Path(folder), "timestamps", rules, classes)
        log.write(events)
        part = read_log(log.config(history), splits=False, keys_only=False).part
    seen = part.windows.events.select("unit_id", "time", "event_type", "correct").rows()
    ranges = zip(part.windows.start, part.windows.stop, strict=True)
    outcomes = part.outcomes.select("learner_id", "unit_id", "label").iter_rows()
    return {
        (learner, unit): (seen[start:stop], label)
        for (learner, unit, label), (start, stop) in zip(outcomes, ranges, strict=True)
    }
