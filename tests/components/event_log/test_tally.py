from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from components.event_log.problems import Hint, Place, Problem
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import Sighting

NAMES = st.sampled_from(["a", "b"])
SIGHTINGS = st.builds(
    lambda low, row, path, whole: Sighting(
        count=row,
        low=low,
        high=low + 1,
        whole=whole,
        path=path,
        row=row,
        unit="row",
        column="time",
        found=str(row),
    ),
    st.integers(0, 9),
    st.integers(1, 9),
    NAMES,
    st.booleans(),
)
HINTS = st.builds(
    Hint, text=NAMES, count=st.integers(1, 9), example=st.sampled_from(["", "x", "y"])
)
PROBLEMS = st.builds(
    lambda subject, row: Problem(
        subject=subject, expected="x", places=(Place(row=row, found=str(row)),), count=1
    ),
    NAMES,
    st.integers(1, 99),
)
TALLIES = st.builds(
    Tally,
    rows=st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(1, 9)).map(Counter)),
    clocks=st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["2", "timestamps"]), SIGHTINGS)),
    types=st.dictionaries(NAMES, st.sampled_from(["integer", "float", "text"])),
    learners=st.integers(0, 9),
    units=st.sets(NAMES),
    steps=st.dictionaries(st.integers(0, 3), st.integers(1, 9)).map(Counter),
    used_events=st.integers(0, 9),
    unused=st.sampled_from(["", "a", "b"]),
    lookalikes=st.dictionaries(NAMES, st.dictionaries(NAMES, st.sampled_from([["a "], ["b "]]))),
    twins=st.dictionaries(NAMES, st.sets(NAMES)),
    hints=st.lists(HINTS, max_size=3),
    problems=st.lists(PROBLEMS, max_size=3, unique_by=lambda problem: problem.places[0].row),
)


@settings(deadline=None)
@given(st.lists(TALLIES, max_size=5), st.integers(0, 5), st.randoms())
def test_the_sum_does_not_depend_on_order_or_grouping(
    tallies: list[Tally], cut: int, random: st.DataObject
) -> None:
    total = merge_tallies(tallies)
    shuffled = list(tallies)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge_tallies([merge_tallies(shuffled[:cut]), merge_tallies(shuffled[cut:])]) == total


@settings(deadline=None)
@given(TALLIES)
def test_travels_as_json(tally: Tally) -> None:
    assert Tally.model_validate_json(tally.model_dump_json()) == tally
