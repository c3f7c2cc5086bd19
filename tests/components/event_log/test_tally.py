from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from components.event_log.problems import Place, Problem
from components.event_log.tally import Tally, merge_tallies

NAMES = st.sampled_from(["a", "b"])
SPAN = st.none() | st.tuples(st.integers(0, 9).map(float), st.integers(10, 19).map(float))
PROBLEMS = st.builds(
    lambda subject, row: Problem(subject=subject, expected="x", places=(Place(row=row, found=str(row)),), count=1),
    NAMES,
    st.integers(1, 99),
)
TALLIES = st.builds(
    Tally,
    rows=st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(1, 9)).map(Counter)),
    clocks=st.dictionaries(st.sampled_from(["integer", "timestamp"]), NAMES),
    types=st.dictionaries(NAMES, st.sampled_from(["integer", "float", "text"])),
    times=SPAN,
    moments=SPAN,
    learners=st.integers(0, 9),
    units=st.sets(NAMES),
    steps=st.dictionaries(st.integers(0, 3), st.integers(1, 9)).map(Counter),
    problems=st.lists(PROBLEMS, max_size=3, unique_by=lambda problem: problem.places[0].row),
)


@settings(deadline=None)
@given(st.lists(TALLIES, max_size=5), st.integers(0, 5), st.randoms())
def test_the_sum_does_not_depend_on_order_or_grouping(tallies: list[Tally], cut: int, random: st.DataObject) -> None:
    total = merge_tallies(tallies)
    shuffled = list(tallies)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge_tallies([merge_tallies(shuffled[:cut]), merge_tallies(shuffled[cut:])]) == total


@settings(deadline=None)
@given(TALLIES)
def test_travels_as_json(tally: Tally) -> None:
    assert Tally.model_validate_json(tally.model_dump_json()) == tally
