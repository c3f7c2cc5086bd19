"""What people read in their own language: the catalogs, and a probability in words and number.

The board and the messages share them. A text is English in the code; its German and Chinese stand
in `locale/` of `serving/answers` and `serving/board`, one catalog per theme.
"""

from __future__ import annotations

import io
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Literal, get_args

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_percent

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
