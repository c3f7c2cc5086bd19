"""The words of reasons, in the course's own terms.

A template is text with placeholders, such as `long pauses[ in "{where}"]`. A part in brackets is
left out where there is nothing to fill into its placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints, model_validator

from components.command.suggest import did_you_mean
from components.config.section import InputName, KeyedError, Section
from components.config.summaries import list_summaries, require_summary
from components.config.training import Categorical

if TYPE_CHECKING:
    from components.config.training import Feature, Steps

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Z][A-Za-z]{1,3})?$")]
Template = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Texts = Template | dict[Language, Template]  # one text for every language, or one by language

PLACEHOLDERS = ("value", "unit", "where", "name")
TEMPLATES = ("high", "low", "missing", "word")
_FIELD = re.compile(r"\{([^{}]*)\}")


class FeatureWords(Section):
    """What people call a feature, and what is said where it is a reason.

    Each text is one for every language, or a mapping from languages to texts. Templates may use
    {name}, {value} (the mean of a number; the word of a categorical feature that adds most),
    {unit} (what the answer is about) and {where}.
    """

    name: Texts | None = Field(None, description="what people call it; default: its own name")
    high: Texts | None = Field(None, description="a number above the typical one; a template")
    low: Texts | None = Field(None, description="a number below the typical one; a template")
    missing: Texts | None = Field(None, description="where nothing is recorded; a template")
    word: Texts | None = Field(None, description="of a categorical feature; a template")
    values: dict[str, Texts] = Field(
        default_factory=dict, description="what people call words of a categorical feature"
    )
    where: InputName | None = Field(
        None,
        description="categorical step feature whose word fills {where}, if most of what a step "
        "feature adds lies in steps of one word; default: `knowledge_component`, else `step_unit`",
    )


class Reasons(Section):
    """How reasons are worded. A feature without words of its own gets a general sentence."""

    top: int = Field(3, ge=1, le=10, description="reasons that are shown and stored with an answer")
    smallest: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of all that speaks for the answer below which a reason is left out",
    )
    languages: list[Language] = Field(
        default_factory=lambda: ["en", "de", "zh"],
        description="of the sentences that are stored; general ones are in English, German and "
        "Chinese, in other languages English",
        min_length=1,
    )
    words: dict[str, FeatureWords] = Field(
        default_factory=dict,
        description="words of step features, of the context and of summaries, by feature",
    )

    @model_validator(mode="after")
    def _languages_differ(self) -> Reasons:
        for language in self.languages:
            if self.languages.count(language) > 1:
                raise KeyedError("languages", f"expected each once, found {language} twice")
        return self

    @model_validator(mode="after")
    def _texts_can_be_read(self) -> Reasons:
        for feature, words in self.words.items():
            for keys, text in _texts_of(words):
                way = ("words", feature, *keys)
                self._check_languages(way, text)
                for place, template in _templates(text):
                    _check_template((*way, *place), template, is_template=keys[0] in TEMPLATES)
        return self

    def _check_languages(self, keys: tuple[str, ...], text: Texts) -> None:
        if isinstance(text, str):
            return
        for language in text:
            if language not in self.languages:
                raise KeyedError(
                    (*keys, language),
                    f"expected one of reasons.languages {self.languages}, found {language!r}; "
                    "add it there to have reasons in that language",
                )


def _texts_of(words: FeatureWords) -> Iterator[tuple[tuple[str, ...], Texts]]:
    """Yields all texts of a feature with the way to each."""
    for key in ("name", *TEMPLATES):
        text = getattr(words, key)
        if text is not None:
            yield (key,), text
    for word, text in words.values.items():
        yield ("values", word), text


def _templates(text: Texts) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(text, str):
        yield (), text
        return
    for language, template in text.items():
        yield (language,), template


def in_language(text: Texts | None, language: str) -> str | None:
    """Returns a text in a language; None if it is not written.

    >>> in_language({"en": "pauses", "de": "Pausen"}, "de"), in_language("Pausen", "en")
    ('Pausen', 'Pausen')
    """
    return text if text is None or isinstance(text, str) else text.get(language)


def split_template(template: str) -> list[tuple[str, bool]]:
    """Returns the parts of a template, each with whether it stands in brackets.

    >>> split_template('long pauses[ in "{where}"]')
    [('long pauses', False), (' in "{where}"', True)]

    Raises:
        ValueError: brackets do not match, or stand in one another.
    """
    parts = re.split(r"([\[\]])", template)
    found: list[tuple[str, bool]] = []
    is_open = False
    for part in parts:
        if part in ("[", "]"):
            if is_open == (part == "["):
                raise ValueError("expected every [ closed by a ] before the next one")
            is_open = part == "["
        elif part:
            found.append((part, is_open))
    if is_open:
        raise ValueError("expected a ] for every [")
    return found


def placeholders_in(text: str) -> list[str]:
    """Returns the names in braces.

    >>> placeholders_in('{name}: {value}')
    ['name', 'value']
    """
    return _FIELD.findall(text)


def _check_template(keys: tuple[str, ...], template: str, *, is_template: bool) -> None:
    if re.search(r"[{}]", _FIELD.sub("", template)):
        raise KeyedError(keys, f"expected braces around names only, found {template!r}")
    allowed = PLACEHOLDERS if is_template else ()
    for name in placeholders_in(template):
        if name not in allowed:
            known = ", ".join(f"{{{each}}}" for each in allowed) or "text without placeholders"
            raise KeyedError(
                keys, f"expected {known}, found {{{name}}}{did_you_mean(name, allowed)}"
            )
    if is_template:
        try:
            split_template(template)
        except ValueError as error:
            raise KeyedError(keys, f"{error}, found {template!r}") from None


def require_words_fit(reasons: Reasons, steps: Steps, context: Mapping[str, Feature]) -> None:
    """Checks that words are those of features that the model has.

    Raises:
        KeyedError: a feature is unknown, or of the other kind than its words are for.
    """
    inputs = {**steps.features, **context}
    for feature, words in reasons.words.items():
        keys = ("reasons", "words", feature)
        if feature not in inputs:
            _require_known(feature, steps, context, keys)
        is_categorical = isinstance(inputs.get(feature), Categorical)
        kind = "categorical" if is_categorical else "numeric"
        for key in ("high", "low") if is_categorical else ("word",):
            if getattr(words, key) is not None:
                other = "word" if is_categorical else "high or low"
                raise KeyedError((*keys, key), f"expected {other}, as {feature} is {kind}")
        if words.values and not is_categorical:
            raise KeyedError((*keys, "values"), f"expected none, as {feature} is {kind}")
        _require_where_fits(feature, words, steps, keys)


def _require_known(
    feature: str, steps: Steps, context: Mapping[str, Feature], keys: tuple[str, ...]
) -> None:
    try:
        require_summary(feature, steps, context)
    except KeyedError:
        known = [*steps.features, *context]
        every = [*known, *(summary.name for summary in list_summaries(steps, context, {}))]
        raise KeyedError(
            keys,
            f"expected one of {', '.join(known)} or a summary of them, found {feature!r}"
            f"{did_you_mean(feature, every)}",
        ) from None


def _require_where_fits(
    feature: str, words: FeatureWords, steps: Steps, keys: tuple[str, ...]
) -> None:
    if words.where is None:
        return
    if feature not in steps.features:
        raise KeyedError((*keys, "where"), f"expected none, as {feature} is no step feature")
    names = [name for name, item in steps.features.items() if isinstance(item, Categorical)]
    if words.where not in names or words.where == feature:
        others = ", ".join(name for name in names if name != feature) or "none, as there is none"
        raise KeyedError(
            (*keys, "where"),
            f"expected another categorical step feature ({others}), found {words.where!r}"
            f"{did_you_mean(words.where, names)}",
        )
