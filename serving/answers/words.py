"""What people read in their own language: the catalogs, and a probability in words and number.

The board and the messages share them. A text is English in the code; its German and Chinese stand
in `locale/` of `serving/answers` and `serving/board`, one catalog per theme.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Any, Literal, get_args

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from components.contracts.names import BASIS_SEQUENCE, NOT_SURE

Language = Literal["en", "de", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
CATALOGS = (Path(__file__).parent / "locale", Path(__file__).parents[1] / "board" / "locale")

# From how many percent on each word is used. The steps are those in which the IPCC's reports speak
# of likelihoods, with fewer words.
_LIKELIHOODS = (
    (99, "almost certainly"),
    (90, "very likely"),
    (66, "likely"),
    (33, "possibly"),
    (10, "unlikely"),
    (0, "very unlikely"),
)


@cache
def translations(language: str) -> NullTranslations:
    """Returns the texts of a language: all catalogs of it, merged."""
    if language == "en":
        return NullTranslations()

    merged = Catalog(locale=language)
    for path in sorted(path for folder in CATALOGS for path in (folder / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id and message.string and not message.fuzzy:
                    merged[message.id] = message
    compiled = io.BytesIO()
    write_mo(compiled, merged)
    compiled.seek(0)
    return GNUTranslations(compiled)


def likelihood(probability: float) -> str:
    """Returns the English word for a probability, a message of the catalogs.

    It belongs to the percentage that is shown: 0.895 is 90%, and so "very likely".

    >>> likelihood(0.91), likelihood(0.895), likelihood(0.4)
    ('very likely', 'very likely', 'possibly')
    """
    shown = round(100 * probability)
    return next(word for least, word in _LIKELIHOODS if shown >= least)


def percentage(probability: float, language: str) -> str:
    """Returns a probability in percent; it never claims that something is certain.

    >>> percentage(0.91, "en"), percentage(0.999, "en"), percentage(0.001, "en")
    ('91%', '>99%', '<1%')
    """
    if 0.99 < probability < 1:
        return f">{format_percent(0.99, locale=language)}"
    if 0 < probability < 0.01:
        return f"<{format_percent(0.01, locale=language)}"
    return format_percent(probability, locale=language)


def class_name(predicted_class: str, language: str) -> str:
    """Returns a class as people say it: translated where the catalogs have it.

    >>> class_name("not_mastered", "en"), class_name("not_mastered", "de")
    ('not mastered', 'nicht beherrscht')
    """
    return translations(language).gettext(predicted_class.replace("_", " "))


def in_words(predicted_class: str, probability: float, language: str) -> str:
    """Returns a class with its probability, in words and number.

    >>> in_words("not_mastered", 0.91, "en")
    'very likely not mastered, 91%'
    >>> in_words("not_mastered", 0.91, "zh")
    '很可能未掌握，91%'
    """
    texts = translations(language)
    return texts.gettext("%(likelihood)s %(class)s, %(percent)s") % {
        "likelihood": texts.gettext(likelihood(probability)),
        "class": class_name(predicted_class, language),
        "percent": percentage(probability, language),
    }


def sure_in_words(answer: Any, language: str) -> str:
    """Returns how sure an answer is; empty where its version does not say it.

    Args:
        answer: has `predicted_class`, `prediction_set`, `answer_text` and `prediction_interval`, as
            rows of `answers` and `current_answers`.
        language: of the reader.

    >>> from types import SimpleNamespace
    >>> either = SimpleNamespace(predicted_class="partial", answer_text="partial or proficient",
    ...     prediction_set=["partial", "proficient"], prediction_interval=None)
    >>> sure_in_words(either, "en"), sure_in_words(either, "de")
    ('partial or proficient', 'teilweise beherrscht oder sicher beherrscht')
    """
    texts = translations(language)
    if answer.prediction_interval is not None:
        low, high = (
            format_decimal(round(end, 3), locale=language) for end in answer.prediction_interval
        )
        return texts.gettext("probably from %(low)s to %(high)s") % {"low": low, "high": high}
    if answer.answer_text is None:
        return ""
    if answer.answer_text == NOT_SURE or not answer.prediction_set:
        return texts.gettext("not sure")
    if answer.prediction_set == [answer.predicted_class]:
        return texts.gettext("only this class fits")  # however probable it is
    *names, last = [class_name(name, language) for name in answer.prediction_set]
    if not names:
        return last
    others = texts.gettext(", ").join(names)
    return texts.gettext("%(classes)s or %(last)s") % {"classes": others, "last": last}


def unlike_in_words(unfamiliar: str | None, language: str) -> str:
    """Returns what is unlike the learners that the model has seen; empty for nothing.

    >>> unlike_in_words("sequence, job_level", "en")
    'unlike what the model has seen: the course of events, job level'
    >>> unlike_in_words("", "en")
    ''
    """
    if not unfamiliar:
        return ""
    texts = translations(language)
    names = [
        texts.gettext("the course of events") if name == BASIS_SEQUENCE else name.replace("_", " ")
        for name in unfamiliar.split(", ")
    ]
    what = texts.gettext(", ").join(names)
    return texts.gettext("unlike what the model has seen: %(what)s") % {"what": what}


def decisions_in_words(answer: Any, trust: Mapping[str, Any] | None, language: str) -> list[str]:
    """Returns the decisions that an answer leads to, with how often they were right on test data.

    Args:
        answer: has `decisions`, as rows of `answers` and `current_answers`.
        trust: of the version, as `model_versions` has it.
        language: of the reader.
    """
    texts = translations(language)
    known = {item["name"]: item for item in (trust or {}).get("decisions", ())}
    said = []
    for name in answer.decisions or ():
        spoken = texts.gettext(name.replace("_", " "))
        precision = known.get(name, {}).get("precision")
        if precision is None:
            said.append(texts.gettext("%(decision)s: named by the model") % {"decision": spoken})
            continue
        share = format_percent(precision, locale=language)
        sentence = texts.gettext(
            "%(decision)s: named by the model; on test data %(share)s of those named were right"
        )
        said.append(sentence % {"decision": spoken, "share": share})
    return said


def reasons_in(reasons: Sequence[Mapping[str, Any]], language: str) -> list[str]:
    """Returns the sentences of reasons in a language, else in English, else in any."""
    found = []
    for reason in reasons:
        texts = reason.get("text") or {}
        said = texts.get(language) or texts.get("en") or next(iter(texts.values()), None)
        if said:
            found.append(said)
    return found
