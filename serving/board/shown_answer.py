"""How pages show an answer: a class and its probability in words, a symbol, a shade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from babel.numbers import format_decimal

from serving.answers.next_step import NEARLY_HIGHEST
from serving.answers.words import (
    class_name,
    decisions_in_words,
    in_words,
    percentage,
    sure_in_words,
    translations,
    unlike_in_words,
)

Level = Literal["low", "middle", "high"]
SYMBOLS: dict[Level, str] = {"low": "▼", "middle": "◆", "high": "▲"}
SHADES = 7  # of a heat map, by need


class Answered(Protocol):
    """What pages read of an answer, old or current."""

    predicted_class: str | None
    probabilities: list[float]
    prediction: float | None
    need: float
    basis: str


@dataclass(frozen=True)
class ShownAnswer:
    """An answer as a page shows it. Colours never stand alone: the symbol says the same.

    Attributes:
        level: where the class stands among the version's classes.
        symbol: of the level.
        shade: by need, 0 (none) to `SHADES` - 1.
        number: the class's probability in percent, or the predicted number.
        words: class and probability, such as "very likely not mastered, 91%".
        short: the class alone, or the predicted number.
    """

    level: Level
    symbol: str
    shade: int
    number: str
    words: str
    short: str


def show_answer(answer: Answered, classes: Sequence[str], language: str) -> ShownAnswer:
    """Returns an answer as pages show it.

    Args:
        answer: a row of `answers` or `current_answers`.
        classes: of the version that answered, lowest mastery first; empty for a regression.
        language: of the reader.
    """
    level = level_of(answer.predicted_class, classes, answer.need)
    if answer.predicted_class is None:
        number = format_decimal(round(answer.prediction or 0.0, 3), locale=language)
        words = translations(language).gettext("predicted: %(number)s") % {"number": number}
        short = number
    else:
        probability = max(answer.probabilities, default=0.0)
        number = percentage(probability, language)
        words = in_words(answer.predicted_class, probability, language)
        short = class_name(answer.predicted_class, language)
    return ShownAnswer(level, SYMBOLS[level], shade_of(answer.need), number, words, short)


def trust_notes(answer: Any, trust: Mapping[str, Any] | None, language: str) -> list[str]:
    """Returns how far an answer can be trusted, in words, as far as its version says it.

    Args:
        answer: a row of `answers` or `current_answers`.
        trust: of the version that answered, as `model_versions` has it.
        language: of the reader.
    """
    sure = sure_in_words(answer, language)
    unlike = unlike_in_words(answer.unfamiliar, language)
    return [*filter(None, (sure, unlike)), *decisions_in_words(answer, trust, language)]


def level_of(predicted_class: str | None, classes: Sequence[str], need: float) -> Level:
    """Returns where an answer stands: lowest class, highest class, or between; else by need.

    >>> level_of("partial", ["not_mastered", "partial", "proficient"], 0.5)
    'middle'
    >>> level_of(None, [], 0.1), level_of(None, [], 0.9)
    ('high', 'low')
    """
    if predicted_class in classes:
        place = classes.index(predicted_class)
        return "low" if place == 0 else "high" if place == len(classes) - 1 else "middle"
    return "high" if need < NEARLY_HIGHEST else "low" if need > 1 - NEARLY_HIGHEST else "middle"


def shade_of(need: float) -> int:
    """Returns the shade of a need between 0 and 1.

    >>> shade_of(0.0), shade_of(0.5), shade_of(1.0)
    (0, 3, 6)
    """
    return min(SHADES - 1, max(0, int(need * SHADES)))
