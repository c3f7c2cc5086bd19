"""Words of reasons: what is wrong with them is said when the configuration is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from components.config import load_config
from tests.components.config.test_load import message, write

PACE = {"low": {"en": 'slow[ in "{where}"]', "de": "langsam"}, "where": "event_type"}


def test_words_of_steps_context_and_summaries_are_taken(tmp_path: Path) -> None:
    words = {
        "correct": PACE,
        "course": {"word": "the course {value}", "values": {"a": "Algebra", "b": {"zh": "几何"}}},
        "correct.mean": {"high": "many right answers"},
        "event_type": {"name": "kind"},
    }
    reasons = {"languages": ["en", "de", "zh", "pt-BR"], "words": words, "top": 2}
    config = load_config(write(tmp_path, reasons=reasons))
    assert config.reasons.words["correct"].low == PACE["low"]
    assert config.reasons.languages[-1] == "pt-BR"
    again = type(config).model_validate(config.model_dump(mode="json", by_alias=True))
    assert again.reasons == config.reasons


@pytest.mark.parametrize(
    ("feature", "words", "expected"),
    [
        ("corect", {"low": "x"}, r"reasons\.words\.corect: .*found 'corect'; did you mean correct"),
        ("correct", {"low": "{valu}"}, r"words\.correct\.low: .*found \{valu\}.*mean value"),
        ("correct", {"low": {"de": "{wher}"}}, r"words\.correct\.low\.de: .*found \{wher\}"),
        ("correct", {"low": "{}"}, r"words\.correct\.low: .*found \{\}"),
        ("correct", {"low": "a { b"}, r"words\.correct\.low: expected braces around names only"),
        ("correct", {"low": "a [b"}, r"words\.correct\.low: expected a \] for every \["),
        ("correct", {"low": "a [b [c]]"}, r"words\.correct\.low: expected every \[ closed"),
        ("correct", {"low": "a ] b"}, r"words\.correct\.low: expected every \[ closed"),
        ("correct", {"name": "{value}"}, r"words\.correct\.name: .*without placeholders"),
        ("correct", {"low": {"fr": "x"}}, r"correct\.low\.fr: expected one of .*found 'fr'"),
        ("correct", {"word": "x"}, r"correct\.word: expected high or low, as correct is numeric"),
        ("correct", {"values": {"a": "b"}}, r"correct\.values: expected none"),
        ("course", {"low": "x"}, r"course\.low: expected word, as course is categorical"),
        ("course", {"where": "event_type"}, r"course\.where: .*course is no step feature"),
        ("correct", {"where": "correct"}, r"correct\.where: .*categorical.*\(event_type\)"),
        ("event_type", {"where": "event_type"}, r"event_type\.where: .*none, as there is none"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_key(
    tmp_path: Path, feature: str, words: dict[str, Any], expected: str
) -> None:
    said = message(tmp_path, reasons={"words": {feature: words}})
    assert re.search(expected, said, re.DOTALL), said


def test_languages_are_codes_and_each_is_named_once(tmp_path: Path) -> None:
    assert "found de twice" in message(tmp_path, reasons={"languages": ["de", "de"]})
    assert "reasons.languages" in message(tmp_path, reasons={"languages": ["German"]})
