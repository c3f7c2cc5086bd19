from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from serving.answers.next_step import Standing, Step, next_steps, weakest_first

NAMES = [f"unit-{place}" for place in range(8)]


@st.composite
def standings(draw: st.DrawFn, *, circles: bool = True) -> list[Standing]:
    """Any units, with prerequisites among them and a few that nobody describes."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    units = []
    for name in names:
        possible = [other for other in NAMES if circles or other < name]
        need = draw(st.none() | st.floats(0, 1))
        units.append(
            Standing(
                name,
                need=need,
                mastered=need is not None and draw(st.booleans()),
                from_events=draw(st.booleans()),
                prerequisites=tuple(
                    draw(st.lists(st.sampled_from(possible), unique=True, max_size=3))
                    if possible
                    else ()
                ),
            )
        )
    return units


@given(standings(), st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_input(
    units: list[Standing], draw: object
) -> None:
    shuffled = list(units)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]

    assert next_steps(shuffled) == next_steps(units)


@given(standings(circles=False))
def test_a_unit_never_comes_before_its_unmastered_prerequisite(units: list[Standing]) -> None:
    steps = next_steps(units)
    place = {step.unit_id: number for number, step in enumerate(steps)}
    known = {unit.unit_id: unit for unit in units}

    for unit_id, number in place.items():
        for before in known[unit_id].prerequisites if unit_id in known else ():
            if before not in known or not known[before].mastered:
                assert place[before] < number
    assert all(not step.circular for step in steps)


@given(standings())
def test_each_unit_that_is_not_mastered_is_proposed_once_and_no_mastered_one_is(
    units: list[Standing],
) -> None:
    proposed = [step.unit_id for step in next_steps(units)]

    assert len(proposed) == len(set(proposed))
    for unit in units:
        if unit.mastered:
            assert unit.unit_id not in proposed
        elif unit.need is not None:
            assert unit.unit_id in proposed


@given(standings())
def test_a_step_says_what_it_waits_for_and_what_it_opens(units: list[Standing]) -> None:
    steps = {step.unit_id: step for step in next_steps(units)}
    needs = {unit.unit_id: unit.need for unit in units}
    order = list(steps)

    for unit_id, step in steps.items():
        assert step.gain == needs.get(unit_id)
        assert not set(step.after) & set(step.circular)
        for before in step.after:
            assert unit_id in steps[before].opens
            assert order.index(before) < order.index(unit_id)
        for later in step.opens:
            assert unit_id in steps[later].after


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_without_prerequisites_the_lowest_mastery_comes_first(needs: list[float]) -> None:
    units = [Standing(name, need=need) for name, need in zip(NAMES, needs, strict=False)]

    gains = [step.gain or 0.0 for step in next_steps(units)]

    assert gains == sorted(needs, reverse=True)


def test_a_prerequisite_counts_with_the_need_of_what_builds_on_it() -> None:
    steps = next_steps(
        [
            Standing("geometry", need=0.5),
            Standing("fractions", need=0.9, prerequisites=("division",)),
            Standing("division", need=0.2, prerequisites=("counting",)),
            Standing("counting", need=0.0, mastered=True),
        ]
    )

    assert steps == [
        Step("division", 0.2, opens=("fractions",)),
        Step("fractions", 0.9, after=("division",)),
        Step("geometry", 0.5),
    ]


def test_a_mastered_prerequisite_holds_nothing_up() -> None:
    steps = next_steps(
        [
            Standing("a", need=0.3),
            Standing("b", need=0.0, mastered=True, prerequisites=("a",)),
            Standing("c", need=0.8, prerequisites=("b",)),
        ]
    )

    assert [(step.unit_id, step.after) for step in steps] == [("c", ()), ("a", ())]


def test_answers_about_own_events_come_first_then_assumed_ones_then_units_without() -> None:
    steps = next_steps(
        [
            Standing("begun", need=0.1),
            Standing("assumed", need=0.9, from_events=False),
            Standing("mastered", need=0.0, mastered=True),
            Standing("follows", prerequisites=("mastered",)),
            Standing("far away", prerequisites=("follows",)),
            Standing("unrelated"),
        ]
    )

    assert [step.unit_id for step in steps] == ["begun", "assumed", "follows"]
    assert steps[-1].gain is None


def test_a_prerequisite_that_nobody_describes_is_a_step_without_an_answer() -> None:
    assert next_steps([Standing("b", need=0.5, prerequisites=("a",))]) == [
        Step("a", None, opens=("b",)),
        Step("b", 0.5, after=("a",)),
    ]


def test_units_in_a_circle_are_ordered_by_need_and_say_so() -> None:
    steps = next_steps(
        [
            Standing("a", need=0.3, prerequisites=("b",)),
            Standing("b", need=0.6, prerequisites=("a",)),
            Standing("c", need=0.7, prerequisites=("a",)),
            Standing("itself", need=0.1, prerequisites=("itself",)),
        ]
    )

    assert steps == [
        Step("a", 0.3, opens=("c",), circular=("b",)),
        Step("c", 0.7, after=("a",)),
        Step("b", 0.6, circular=("a",)),
        Step("itself", 0.1, circular=("itself",)),
    ]


@dataclass(frozen=True)
class Practised:
    component: str
    answered: int
    correct: int
    mastery: float


def test_components_with_mistakes_are_ordered_by_mastery() -> None:
    results = [
        Practised("few", 1, 0, 0.3),
        Practised("perfect", 4, 4, 0.9),
        Practised("many", 9, 2, 0.3),
        Practised("weak", 5, 0, 0.1),
    ]

    assert [result.component for result in weakest_first(results)] == ["weak", "many", "few"]
