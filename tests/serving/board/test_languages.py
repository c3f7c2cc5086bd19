"""Every text that people read has a German and a Chinese one, and only one of each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from serving.answers import words
from serving.answers.words import CATALOGS, LANGUAGES, translations
from serving.board.rendering import FOLDER

TRANSLATED = [language for language in LANGUAGES if language != "en"]
PACKAGES = (Path(words.__file__).parent, FOLDER)
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
OPTIONS = {"trimmed": "false", "silent": "false"}  # of Jinja's extraction: errors are raised
# The data brings these: names of classes, which a catalog may know.
OF_DATA = {"not mastered", "partial", "proficient", "mastered"}
# Words that are spelled alike in English.
ALIKE = {
    "de": {"Name", "Region", "Version", "%(likelihood)s %(class)s, %(percent)s", ", "},
    "zh": set(),
}
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd]")

Text = tuple[str, ...]  # a message, or its singular and plural


@cache
def texts_of_templates() -> dict[Text, str]:
    """Returns the messages of all templates, and where each one stands."""
    found: dict[Text, str] = {}
    for path in sorted((FOLDER / "templates").glob("*.j2")):
        with path.open("rb") as file:
            for line, message, *_ in extract(
                "jinja2.ext:babel_extract", file, keywords=KEYWORDS, options=OPTIONS
            ):
                found.setdefault(as_text(message), f"{path.name}:{line}")
    return found


@cache
def texts_of_python() -> dict[Text, str]:
    """Returns the messages that the code passes to gettext, and where each one stands."""
    found: dict[Text, str] = {}
    for path in python_files():
        with path.open("rb") as file:
            for line, message, *_ in extract("python", file, keywords=KEYWORDS):
                found.setdefault(as_text(message), f"{path.name}:{line}")
    return found


@cache
def constants_of_python() -> frozenset[str]:
    """Returns all texts in the code: a message may get its way to gettext by a variable."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in python_files()]
    return frozenset(
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def python_files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in package.rglob("*.py"))


def as_text(message: str | tuple[str, ...]) -> Text:
    return (message,) if isinstance(message, str) else tuple(part for part in message if part)[:2]


def entries(language: str) -> Iterator[tuple[str, Message]]:
    """Yields all entries of a language's catalogs, each with its file's name."""
    for folder in CATALOGS:
        for path in sorted((folder / language).glob("*.po")):
            with path.open("rb") as file:
                for message in read_po(file, locale=language, abort_invalid=True):
                    if message.id:
                        yield f"{language}/{path.name}:{message.lineno}", message


def strings(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated(language: str) -> None:
    catalog = {as_text(message.id): strings(message) for _, message in entries(language)}
    wanted = texts_of_templates() | texts_of_python()
    assert len(wanted) > 50

    missing = {
        text: where
        for text, where in wanted.items()
        if not all(catalog.get(text, ()))
        or (catalog.get(text) in (None, text[:1]) and text[0] not in ALIKE[language])
    }

    assert not missing


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_left_over(language: str) -> None:
    extracted = texts_of_templates() | texts_of_python()
    constants = constants_of_python() | OF_DATA

    unused = [
        f"{where}: {message.id}"
        for where, message in entries(language)
        if as_text(message.id) not in extracted
        and not all(text in constants or text.replace(" ", "_") in constants
                    for text in as_text(message.id))
    ]  # fmt: skip

    assert not unused


@pytest.mark.parametrize("language", TRANSLATED)
def test_catalogs_do_not_contradict_one_another(language: str) -> None:
    first: dict[Text, tuple[str, tuple[str, ...]]] = {}
    different = []
    for where, message in entries(language):
        before, found = first.setdefault(as_text(message.id), (where, strings(message)))
        if found != strings(message):
            different.append(f"{before} says {found}, {where} says {strings(message)}")

    assert not different


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_fill_in_the_same_values(language: str) -> None:
    wrong = []
    for where, message in entries(language):
        expected = set(PLACEHOLDER.findall(as_text(message.id)[-1]))
        # A singular may say "one" in place of the number.
        optional = {"%(num)s", "%(num)d"} if len(strings(message)) > 1 else set()
        for string in strings(message):
            found = set(PLACEHOLDER.findall(string))
            if found - expected or expected - found - optional:
                wrong.append(f"{where}: expected {expected}, found {found}")

    assert not wrong


@pytest.mark.parametrize(("language", "forms"), [("de", 2), ("zh", 1)])
def test_there_is_a_form_for_every_number(language: str, forms: int) -> None:
    plurals = [(where, message) for where, message in entries(language) if message.pluralizable]
    assert plurals
    assert {where: len(strings(message)) for where, message in plurals} == {
        where: forms for where, _ in plurals
    }
    texts = translations(language)
    one, many = (texts.ngettext("%(num)s group", "%(num)s groups", count) for count in (1, 2))
    assert (one == many) is (forms == 1)


def test_no_catalog_has_a_language_of_its_own() -> None:
    assert {path.name for folder in CATALOGS for path in folder.iterdir()} == set(TRANSLATED)
    for folder in CATALOGS:
        names = [sorted(path.name for path in (folder / one).iterdir()) for one in TRANSLATED]
        assert names[0] == names[1]
