"""Sentences for reasons: the course's own words, else general ones.

Which of several templates is used: the one that the configuration has for the feature and the
direction; else the project's own for columns whose meaning is known; else the general one, which
needs nothing but the feature's name. A template that has a placeholder outside of brackets with
nothing to fill in gives way to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from babel import Locale, UnknownLocaleError
from babel.numbers import format_decimal

from components.command.escape import in_one_line, shorten
from components.config.reasons import FeatureWords, in_language, placeholders_in, split_template
from components.config.training import Categorical
from components.contracts.names import STEP_UNIT, UNIT
from components.reasons.sentences import (
    GENERAL,
    KNOWLEDGE_COMPONENT,
    KNOWN,
    SUMMARIES,
    Direction,
)

if TYPE_CHECKING:
    from components.config.reasons import Reasons
    from components.config.root import Config
    from components.config.training import Feature

_LONGEST = 60  # characters of a name from the log
_DIGITS = 3  # of a number, from the first that is not 0
_ENGLISH = "en"


@dataclass(frozen=True)
class Finding:
    """What a reason is about, before it is put into words.

    Attributes:
        feature: its name.
        direction: see `Reason`.
        value: the learner's number, or the word that adds most; None if there is none.
        where: the word of another feature in whose steps most of it lies; None for no such word.
        unit: what the answer is about; None if it is not known.
    """

    feature: str
    direction: Direction
    value: float | str | None = None
    where: str | None = None
    unit: str | None = None


class Wording:
    """Puts findings into words.

    >>> from components.config.reasons import FeatureWords, Reasons
    >>> few = FeatureWords(low={"en": "few exercises finished", "de": "wenige Aufgaben erledigt"})
    >>> reasons = Reasons(languages=["en", "de"], words={"exercise_completed": few})
    >>> Wording(reasons, {}).texts(Finding("exercise_completed", "low", 0.2))
    {'en': 'few exercises finished', 'de': 'wenige Aufgaben erledigt'}
    >>> Wording(reasons, {}).texts(Finding("playback_speed", "high", 2.0))["en"]
    'playback speed: higher than usual'
    """

    def __init__(self, reasons: Reasons, steps: Mapping[str, Feature]) -> None:
        """Prepares the words of a configuration.

        Args:
            reasons: its section.
            steps: its features of steps.
        """
        self.reasons = reasons
        self._categorical = [name for name, item in steps.items() if isinstance(item, Categorical)]
        self._steps = steps

    @classmethod
    def of(cls, config: Config) -> Wording:
        """Returns the words of a configuration."""
        return cls(config.reasons, config.steps.features)

    def where_of(self, feature: str) -> str | None:
        """Returns the feature whose words say where; None for a feature that has no such."""
        if feature not in self._steps:
            return None
        chosen = self._words(feature).where
        if chosen is not None:
            return chosen
        if feature in self._categorical:
            return None
        known = (KNOWLEDGE_COMPONENT, STEP_UNIT)
        return next((name for name in known if name in self._categorical), None)

    def texts(self, finding: Finding) -> dict[str, str]:
        """Returns a sentence for every language."""
        return {language: self._sentence(finding, language) for language in self.reasons.languages}

    def _sentence(self, finding: Finding, language: str) -> str:
        filled = self._filled(finding, language)
        sentences = (_fill(item, filled) for item in self._templates(finding, language))
        found = next((sentence for sentence in sentences if sentence is not None), None)
        return self._called(finding.feature, language) if found is None else found

    def _templates(self, finding: Finding, language: str) -> Iterator[str]:
        """Yields the templates for a finding, the most particular first."""
        own = in_language(getattr(self._words(finding.feature), finding.direction, None), language)
        if own is not None:
            yield own
        spoken = language if language in GENERAL["high"] else _ENGLISH
        known = KNOWN.get(finding.feature, {}).get(finding.direction)
        if known is not None and self._words(finding.feature).name is None:
            yield known[spoken]
        yield GENERAL[finding.direction][spoken]

    def _filled(self, finding: Finding, language: str) -> dict[str, str | None]:
        value = finding.value
        place = self.where_of(finding.feature)
        return {
            "name": self._called(finding.feature, language),
            "value": _number(value, language)
            if isinstance(value, float)
            else self._word(finding.feature, value, language),
            "where": self._word(place, finding.where, language) if place else None,
            "unit": self._word(UNIT, finding.unit, language),
        }

    def _called(self, feature: str, language: str) -> str:
        name = in_language(self._words(feature).name, language)
        if name is not None:
            return name
        of, _, kind = feature.rpartition(".")
        if of and kind in SUMMARIES:
            summary = SUMMARIES[kind].get(language) or SUMMARIES[kind][_ENGLISH]
            return summary.replace("{of}", self._called(of, language))
        return re.sub(r"[_.]+", " ", feature)

    def _word(self, feature: str, word: str | None, language: str) -> str | None:
        """Returns what people call a word of a categorical feature."""
        if not word:
            return None
        name = in_language(self._words(feature).values.get(word), language)
        return name or shorten(in_one_line(word), _LONGEST)

    def _words(self, feature: str) -> FeatureWords:
        return self.reasons.words.get(feature) or FeatureWords()


def _fill(template: str, values: Mapping[str, str | None]) -> str | None:
    """Returns a template with its placeholders filled; None if there is nothing for one of them."""
    sentence = ""
    for part, is_optional in split_template(template):
        names = placeholders_in(part)
        if all(values[name] is not None for name in names):
            sentence += re.sub(r"\{(\w+)\}", lambda match: values[match[1]] or "", part)
        elif not is_optional:
            return None
    return sentence


def _number(value: float, language: str) -> str:
    """Returns a number as people of a language write it.

    >>> _number(1234.567, "de"), _number(0.0345678, "en")
    ('1.230', '0.0346')
    """
    rounded = float(f"{value:.{_DIGITS}g}")
    try:
        locale = Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        locale = Locale(_ENGLISH)
    return format_decimal(rounded, format="#,##0.######", locale=locale)
