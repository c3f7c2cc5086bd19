"""Probabilities in words, in three languages."""

from __future__ import annotations

import doctest
import io

import pytest
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from serving.answers import words
from serving.answers.words import CATALOGS, in_words, likelihood, percentage, translations


@pytest.mark.parametrize(
    ("probability", "word"),
    [(1.0, "almost certainly"), (0.995, "almost certainly"), (0.91, "very likely"),
     (0.7, "likely"), (0.655, "likely"), (0.5, "possibly"), (0.2, "unlikely"),
     (0.03, "very unlikely"), (0.0, "very unlikely")],
)  # fmt: skip
def test_a_word_belongs_to_the_percentage_that_is_shown(probability: float, word: str) -> None:
    assert likelihood(probability) == word


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "very likely not mastered, 91%"),
     ("de", "sehr wahrscheinlich nicht beherrscht, 91\N{NO-BREAK SPACE}%"),
     ("zh", "很可能未掌握，91%")],
)  # fmt: skip
def test_an_answer_is_said_in_the_readers_language(language: str, text: str) -> None:
    assert in_words("not_mastered", 0.91, language) == text


def test_a_class_without_a_translation_is_shown_as_it_is() -> None:
    assert in_words("at_risk", 0.7, "de") == "wahrscheinlich at risk, 70\N{NO-BREAK SPACE}%"


@given(st.floats(0, 1))
def test_only_certainty_is_shown_as_such(probability: float) -> None:
    shown = percentage(probability, "en")
    assert (shown == "100%") == (probability == 1)
    assert (shown == "0%") == (probability == 0)


def test_both_languages_translate_the_same_messages_of_each_catalog() -> None:
    for folder in CATALOGS:
        if not folder.is_dir():
            continue
        found = {
            language: {
                (path.name, message.id, bool(message.string))
                for path in (folder / language).glob("*.po")
                for message in read_po(io.BytesIO(path.read_bytes()))
                if message.id
            }
            for language in ("de", "zh")
        }
        assert found["de"] == found["zh"]
        assert all(translated for _, _, translated in found["de"])


def test_english_needs_no_catalog() -> None:
    assert translations("en").gettext("very likely") == "very likely"


def test_the_examples_of_words_hold() -> None:
    assert doctest.testmod(words).failed == 0
