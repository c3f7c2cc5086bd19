"""Which reasons an answer has: invariants for any attributions, and known cases."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.reasons import FeatureWords, Reasons
from components.config.training import Categorical, Numeric
from components.errors import MasteryError
from components.reasons.ranking import Asked, find_reasons
from components.reasons.wording import Wording

STEPS = {
    "knowledge_component": Categorical(type="categorical"),
    "correct": Numeric(type="numeric"),
    "pace": Numeric(type="numeric"),
}
FEATURES = [*STEPS, "level"]
SHAPE = (4, len(FEATURES))


def outputs(
    step_attributions: Any, context: Any = None, *, basis: str = "sequence", **others: Any
) -> dict[str, Any]:
    """Returns what `explain` answers, from attributions of steps [B, T, S] and context [B, C]."""
    steps = np.asarray(step_attributions, np.float32)
    count = len(steps)
    beside = np.zeros((count, 1), np.float32) if context is None else np.asarray(context)
    attributions = np.concatenate([steps.sum(axis=1), beside], axis=1)
    return {
        "explained_features": np.array([[name.encode() for name in FEATURES]] * count),
        "attributions": attributions,
        "directions": np.ones_like(attributions),
        "step_attributions": steps,
        "basis": np.array([basis.encode()] * count),
        **others,
    }


def asked(length: int, **columns: Any) -> Asked:
    """Returns a learner with as many steps."""
    steps = {
        "knowledge_component": ["fractions"] * length,
        "correct": [0.0] * length,
        "pace": [1.0] * length,
    }
    context = {"level": columns.pop("level", "A1")}
    return Asked({**steps, **columns}, context, unit="algebra")


def words(**settings: Any) -> Wording:
    """Returns the wording of a configuration."""
    return Wording(Reasons(**settings), STEPS)


numbers = st.floats(-1, 1, width=32)
tables = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=6)


@given(
    tables, st.integers(1, 4), st.floats(0, 0.9, exclude_max=True), st.integers(0, 10), st.data()
)
def test_reasons_are_the_greatest_of_their_side(
    table: list[list[float]], top: int, smallest: float, padding: int, data: st.DataObject
) -> None:
    length = len(table)
    by_step = np.zeros((1, length + padding, 3))
    by_step[0, :length] = np.array(table)[:, :3]
    said = outputs(by_step, [[table[0][3]]])
    components = data.draw(st.lists(st.sampled_from("abc"), min_size=length, max_size=length))
    learner = asked(length, knowledge_component=components)
    wording = words(top=top, smallest=smallest)
    [found] = find_reasons(said, [learner], wording)

    attributions = dict(zip(FEATURES, said["attributions"][0].tolist(), strict=True))
    for reasons, way in ((found.towards, 1), (found.against, -1)):
        weights = [way * reason.weight for reason in reasons]
        whole = sum(max(way * each, 0.0) for each in attributions.values())
        assert weights == sorted(weights, reverse=True)
        assert all(weight > 0 for weight in weights)
        assert all(weight >= smallest * whole * (1 - 1e-6) for weight in weights)
        assert len({reason.feature for reason in reasons}) == len(reasons) <= top
        left_out = [
            way * value
            for name, value in attributions.items()
            if name not in {reason.feature for reason in reasons}
        ]
        if len(reasons) < top:
            assert all(value <= max(0, smallest * whole * (1 + 1e-6)) for value in left_out)
        elif reasons:
            assert max(left_out, default=-1) <= weights[-1]
        for reason in reasons:
            assert reason.weight == attributions[reason.feature]
            assert set(reason.text) == {"en", "de", "zh"}
            assert json.loads(json.dumps(reason.as_json()))["feature"] == reason.feature


@given(tables, st.data())
def test_a_place_is_named_only_where_most_of_a_feature_lies(
    table: list[list[float]], data: st.DataObject
) -> None:
    by_step = np.array([table])[:, :, :3]
    length = len(table)
    components = data.draw(st.lists(st.sampled_from("abc"), min_size=length, max_size=length))
    [found] = find_reasons(
        outputs(by_step), [asked(length, knowledge_component=components)], words(smallest=0)
    )
    for reason in (*found.towards, *found.against):
        if reason.feature not in ("correct", "pace"):
            continue
        column = by_step[0, :, FEATURES.index(reason.feature)].astype(np.float32)
        shares = {
            word: column[[each == word for each in components]].sum(dtype=np.float64)
            / np.float64(reason.weight)
            for word in components
        }
        named = shares.pop(reason.where) if reason.where else max(shares.values())
        assert (named > 0.5) == (reason.where is not None) or math.isclose(named, 0.5, abs_tol=1e-4)
        if reason.where:
            assert reason.where in reason.text["en"]


@given(tables, st.floats(0.01, 100))
def test_reasons_do_not_depend_on_the_scale(table: list[list[float]], factor: float) -> None:
    by_step = np.round(np.array([table])[:, :, :3], 2)
    plain, scaled = (
        find_reasons(outputs(each), [asked(len(table))], words(smallest=0.05))
        for each in (by_step, by_step * np.float32(2.0 ** round(math.log2(factor))))
    )
    assert [each.feature for each in plain[0].towards] == [
        each.feature for each in scaled[0].towards
    ]


def test_the_word_that_adds_most_is_named() -> None:
    by_step = [[[0.1, 0, 0], [0.25, 0, 0], [0.2, 0, 0], [-0.3, 0, 0]]]
    learner = asked(4, knowledge_component=["ratios", "fractions", "ratios", "fractions"])
    [found] = find_reasons(outputs(by_step), [learner], words())
    [reason] = found.towards
    assert (reason.direction, reason.value) == ("word", "ratios")
    assert reason.text == {
        "en": 'activity in "ratios"',
        "de": "Aktivität in „ratios“",
        "zh": "在“ratios”中的活动",
    }


def test_the_words_of_the_course_say_where_and_how_much() -> None:
    pace = FeatureWords(
        low={"en": 'slow in {unit} ({value})[, mostly in "{where}"]', "de": "langsam"},
    )
    components = FeatureWords(values={"kc1": {"en": "Fractions", "de": "Brüche"}})
    wording = words(words={"pace": pace, "knowledge_component": components})
    learner = asked(2, knowledge_component=["kc1", "kc2"], pace=[1.0, 0.5])
    low = -np.ones((1, 4))
    most, some = ([[[0, 0, 0.3], [0, 0, other]]] for other in (0.1, 0.3))
    [named], [unnamed] = (
        find_reasons(outputs(each) | {"directions": low}, [learner], wording)
        for each in (most, some)
    )
    assert named.towards[0].text["en"] == 'slow in algebra (0.75), mostly in "Fractions"'
    assert named.towards[0].text["de"] == "langsam"
    assert named.towards[0].text["zh"] == "pace：低于一般水平，主要在“kc1”"
    assert unnamed.towards[0].text["en"] == "slow in algebra (0.75)"
    assert unnamed.towards[0].where is None


def test_missing_values_are_said() -> None:
    by_step = [[[0.3, 0.2, 0], [0.1, 0.2, 0]]]
    learner = asked(2, knowledge_component=["", b""], correct=[math.nan, None], level=None)
    [found] = find_reasons(outputs(by_step, [[0.1]]), [learner], words())
    assert [(each.feature, each.direction, each.value) for each in found.towards] == [
        ("correct", "missing", None),
        ("knowledge_component", "missing", None),
        ("level", "missing", None),
    ]
    assert [each.text["en"] for each in found.towards] == [
        "no exercises answered", "knowledge component: nothing recorded", "level: nothing recorded",
    ]  # fmt: skip


def test_a_number_as_usual_on_average_matters_by_its_course() -> None:
    said = outputs([[[0, 0.1, 0]]]) | {"directions": np.zeros((1, 4))}
    [found] = find_reasons(said, [asked(1)], words())
    assert found.towards[0].text["de"] == "correct: der zeitliche Verlauf"


def test_a_cold_start_has_no_reasons() -> None:
    said = outputs(np.full((2, 1, 3), 0.1))
    said["basis"] = np.array([b"prior", b"unfamiliar"])
    cold, other = find_reasons(said, [asked(0), asked(1)], words())
    assert not cold.towards
    assert not cold.against
    assert other.towards


def test_in_a_regression_reasons_lead_from_the_typical_answer_to_this_one() -> None:
    by_step = np.array([[[0, -0.3, 0.1]]] * 2)
    said = outputs(by_step, prediction=np.array([0.2, 0.9]), typical_answer=np.array([0.5, 0.5]))
    lower, higher = find_reasons(said, [asked(1), asked(1)], words())
    assert [each.feature for each in lower.towards] == ["correct"]
    assert [each.feature for each in lower.against] == ["pace"]
    assert [each.feature for each in higher.towards] == ["pace"]


def test_the_last_steps_of_a_longer_sequence_count() -> None:
    learner = asked(3, knowledge_component=["early", "late", "late"])
    [found] = find_reasons(outputs([[[0, 0.1, 0], [0, 0.1, 0]]]), [learner], words())
    assert found.towards[0].where == "late"


def test_outputs_that_do_not_fit_are_refused() -> None:
    said = outputs([[[0.1, 0.2, 0.3]]])
    with pytest.raises(MasteryError, match=r"none of attributions: .* explain\.enabled: true"):
        find_reasons(
            {name: value for name, value in said.items() if name != "attributions"},
            [asked(1)],
            words(),
        )
    with pytest.raises(MasteryError, match="attributions of 2 answers and 4 features"):
        find_reasons(said, [asked(1), asked(1)], words())
    with pytest.raises(MasteryError, match="finite"):
        find_reasons(said | {"attributions": np.full((1, 4), np.nan)}, [asked(1)], words())
    assert find_reasons({}, [], words()) == []
