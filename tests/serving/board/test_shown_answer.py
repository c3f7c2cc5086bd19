from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.board.shown_answer import SHADES, SYMBOLS, level_of, shade_of, show_answer


@dataclass
class Answer:
    predicted_class: str | None
    probabilities: list[float] = field(default_factory=list)
    prediction: float | None = None
    need: float = 0.5
    basis: str = "sequence"


def test_a_class_is_shown_with_its_probability_in_words_and_number() -> None:
    answer = Answer("not_mastered", [0.91, 0.06, 0.03], need=0.94)

    shown = show_answer(answer, ["not_mastered", "partial", "proficient"], "de")

    assert shown.words == "sehr wahrscheinlich nicht beherrscht, 91\xa0%"
    assert (shown.symbol, shown.level, shown.number) == ("▼", "low", "91\xa0%")
    assert shown.short == "nicht beherrscht"


@pytest.mark.parametrize(("need", "level"), [(0.1, "high"), (0.5, "middle"), (0.9, "low")])
def test_a_number_is_shown_as_it_is_and_placed_by_need(need: float, level: str) -> None:
    shown = show_answer(Answer(None, prediction=0.71834, need=need), [], "de")

    assert shown.words == "vorhergesagt: 0,718"
    assert shown.number == shown.short == "0,718"
    assert shown.level == level


@pytest.mark.parametrize(
    ("classes", "levels"),
    [
        (["no", "yes"], ["low", "high"]),
        (["a", "b", "c", "d"], ["low", "middle", "middle", "high"]),
    ],
)
def test_levels_follow_the_order_of_classes(classes: list[str], levels: list[str]) -> None:
    assert [level_of(name, classes, 0.5) for name in classes] == levels


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_greater_need_is_never_paler(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert 0 <= shade_of(low) <= shade_of(high) < SHADES
    assert len(set(SYMBOLS.values())) == 3
