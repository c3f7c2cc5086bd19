"""Sentences: general ones for every feature and language, and those of a course."""

from __future__ import annotations

from typing import get_args

import pytest

from components.config.reasons import FeatureWords, Reasons
from components.config.training import Categorical, Numeric
from components.contracts.names import DERIVED_STEPS
from components.reasons.sentences import Direction
from components.reasons.wording import Finding, Wording

STEPS = {
    "knowledge_component": Categorical(type="categorical"),
    "step_unit": Categorical(type="categorical"),
    "event_type": Categorical(type="categorical"),
    "pace": Numeric(type="numeric"),
}


@pytest.mark.parametrize("direction", get_args(Direction))
@pytest.mark.parametrize(
    "feature",
    [*DERIVED_STEPS, "pace", "correct.mean", "time_to_as_of.events_7d", "event_type.a.b.count"],
)
def test_every_feature_has_a_sentence_in_every_language(feature: str, direction: Direction) -> None:
    wording = Wording(Reasons(), STEPS)
    for value in (0.25, "words", None):
        texts = wording.texts(Finding(feature, direction, value, where="fractions", unit="algebra"))
        assert [*texts] == ["en", "de", "zh"]
        assert len({*texts.values()}) == 3 or direction == "word"
        assert all(text and "{" not in text and "[" not in text for text in texts.values())


def test_summaries_are_named_after_their_feature() -> None:
    wording = Wording(Reasons(words={"pace": FeatureWords(name={"en": "speed"})}), STEPS)
    assert wording.texts(Finding("pace.mean", "low"))["en"] == (
        "speed (on average): lower than usual"
    )
    assert wording.texts(Finding("time_to_as_of.days_7d", "low"))["de"] == (
        "wenige aktive Tage in den letzten 7 Tagen"
    )


def test_where_is_the_component_else_the_unit_else_what_was_chosen() -> None:
    wording = Wording(Reasons(words={"correct": FeatureWords(where="event_type")}), STEPS)
    assert wording.where_of("pace") == "knowledge_component"
    assert wording.where_of("event_type") is None
    assert wording.where_of("level") is None
    fewer = {name: STEPS[name] for name in ("step_unit", "pace")}
    assert Wording(Reasons(), fewer).where_of("pace") == "step_unit"
    assert Wording(Reasons(), {"pace": STEPS["pace"]}).where_of("pace") is None
    both = {**STEPS, "correct": Numeric(type="numeric")}
    chosen = Reasons(words={"correct": FeatureWords(where="event_type")})
    assert Wording(chosen, both).where_of("correct") == "event_type"


def test_a_name_of_the_course_is_in_general_sentences() -> None:
    names = FeatureWords(name={"en": "exercises", "de": "Übungen"})
    reasons = Reasons(words={"exercise_completed": names, "correct": names})
    wording = Wording(reasons, STEPS)
    low = wording.texts(Finding("exercise_completed", "low"))
    assert low == {
        "en": "exercises: lower than usual",
        "de": "Übungen: niedriger als üblich",
        "zh": "exercise completed：低于一般水平",
    }
    assert wording.texts(Finding("correct", "low"))["de"] == "Übungen: niedriger als üblich"


def test_a_text_without_a_language_is_for_all_and_other_languages_fall_back_to_english() -> None:
    few = FeatureWords(low="peu d'exercices")
    wording = Wording(Reasons(languages=["fr", "de"], words={"exercises": few}), STEPS)
    assert wording.texts(Finding("exercises", "low")) == dict.fromkeys(
        ("fr", "de"), "peu d'exercices"
    )
    assert wording.texts(Finding("exercises", "high"))["fr"] == "exercises: higher than usual"


def test_a_template_with_nothing_to_fill_in_gives_way_to_the_general_one() -> None:
    low = FeatureWords(low="slow in {where}: {value}[, in {unit}]")
    wording = Wording(Reasons(languages=["de"], words={"pace": low}), STEPS)
    assert wording.texts(Finding("pace", "low", 1234.5, "ratios", "x"))["de"] == (
        "slow in ratios: 1.230, in x"
    )
    assert wording.texts(Finding("pace", "low", 0.0, "ratios"))["de"] == "slow in ratios: 0"
    assert wording.texts(Finding("pace", "low", 0.5))["de"] == "pace: niedriger als üblich"


def test_names_of_the_log_are_not_read_as_templates() -> None:
    wording = Wording(Reasons(languages=["en"]), STEPS)
    finding = Finding("event_type", "word", r"{where}[x]\1\g<0>" + "\n" + "y" * 90)
    said = wording.texts(finding)["en"]
    assert said.startswith(r'events of type "{where}[x]')
    assert "\n" not in said
    assert len(said) < 90
