"""Conditions of alerts: a small language, parsed into a tree whose types fit.

The grammar is in `condition.lark`. Nothing here knows the database: `serving.answers.alerts.sql`
turns a tree into SQL.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, cast
from unicodedata import east_asian_width

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from components.command.escape import printable, shorten
from components.command.suggest import closest, did_you_mean
from serving.answers.alerts.tree import (
    BASES,
    CLASS_FIELDS,
    DECISION,
    FIELDS,
    FLAGS,
    All,
    Comparison,
    Condition,
    Either,
    Field,
    Flag,
    Missing,
    Negation,
    Number,
    Operand,
    Probability,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LONGEST = 1000  # characters of a condition


class ConditionError(ValueError):
    """A condition cannot be used; the text shows the place."""


def parse_condition(text: str) -> Condition:
    """Returns the tree of a condition.

    >>> parse_condition("need > 0.5")
    Comparison(left=Field(name='need', at=0), operator='>', right=Number(value=0.5, at=7))

    Raises:
        ConditionError: it does not follow the grammar, names something unknown, or compares text
            with a number; the text shows the place.
    """
    if len(text) > LONGEST:
        raise ConditionError(f"expected at most {LONGEST} characters, found {len(text)}")
    try:
        return cast("Condition", _parser().parse(text))  # the builder's tree, not Lark's
    except UnexpectedInput as error:
        _refuse(text, error)
    except _PlacedError as error:
        raise _pointing(text, error.at, error.reason) from None
    except VisitError as error:
        if isinstance(error.orig_exc, _PlacedError):
            raise _pointing(text, error.orig_exc.at, error.orig_exc.reason) from None
        raise


def check_classes(
    text: str, classes: Collection[str], *, has_numbers: bool, decisions: Collection[str] = ()
) -> None:
    """Checks a condition against what models answer with.

    Args:
        text: the condition.
        classes: of the models that answer; empty if none of them answers with classes.
        has_numbers: whether one of them is a regression.
        decisions: names of those that the models take.

    Raises:
        ConditionError: it names a class or a decision that no model has, or what they do not answer
            with.
    """
    condition = parse_condition(text)
    for flag in _flags(condition):
        if flag.decision is not None and flag.decision not in decisions:
            expected = "a decision of the model" if decisions else "a model that takes decisions"
            raise _pointing(text, flag.at, _unknown(expected, flag.decision, decisions))
    for operand, value in _used(condition):
        if isinstance(operand, Field) and operand.name == "prediction" and not has_numbers:
            reason = "expected p(...) or class, found prediction: the model answers with classes"
            raise _pointing(text, operand.at, reason)
        if isinstance(operand, Probability):
            _check_class(text, operand, Text(operand.of, operand.at), classes)
        elif isinstance(operand, Field) and operand.name in CLASS_FIELDS:
            _check_class(text, operand, value, classes)


def _check_class(
    text: str, operand: Field | Probability, name: Text | None, classes: Collection[str]
) -> None:
    if not classes:
        found = _shown(_named(operand))
        reason = f"expected prediction, found {found}: the model answers with numbers"
        raise _pointing(text, operand.at, reason)
    if name is not None and name.value not in classes:
        reason = _unknown("one of the model's classes", name.value, classes)
        raise _pointing(text, name.at, reason)


def classes_in(condition: Condition) -> list[str]:
    """Returns the classes whose probabilities a condition reads, each once, in its order."""
    found = [operand.of for operand, _ in _used(condition) if isinstance(operand, Probability)]
    return [*dict.fromkeys(found)]


def texts_in(condition: Condition) -> list[tuple[str, str]]:
    """Returns the names that a condition compares with a text, each with the text."""
    return [
        (operand.name, text.value)
        for operand, text in _used(condition)
        if isinstance(operand, Field) and text is not None
    ]


def _used(condition: Condition) -> Iterator[tuple[Operand, Text | None]]:
    """Yields every operand, with the text that it is compared with, if there is one."""
    match condition:
        case Comparison(left, _, right):
            yield left, right if isinstance(right, Text) else None
            yield right, left if isinstance(left, Text) else None
        case Missing(operand, _):
            yield operand, None
        case Negation(part):
            yield from _used(part)
        case All(parts) | Either(parts):
            for part in parts:
                yield from _used(part)
        case Flag():
            return


def _flags(condition: Condition) -> Iterator[Flag]:
    """Yields every flag."""
    match condition:
        case Flag():
            yield condition
        case Negation(part):
            yield from _flags(part)
        case All(parts) | Either(parts):
            for part in parts:
                yield from _flags(part)
        case Comparison() | Missing():
            return


class _PlacedError(Exception):
    """What is wrong, and at which character."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


class _Builder(Transformer[Token, Condition]):
    """Makes the tree while the parser reads, and checks names and types."""

    def number(self, parts: list[Token]) -> Number:
        return Number(float(parts[0]), _place(parts[0]))

    def text(self, parts: list[Token]) -> Text:
        return Text(parts[0][1:-1], _place(parts[0]))

    def field(self, parts: list[Token]) -> Field:
        name = str(parts[0])
        if name in FLAGS:
            raise _PlacedError(
                _place(parts[0]), f"expected {name} alone or after not, found a comparison of it"
            )
        if name not in FIELDS:
            hint = did_you_mean(name, FIELDS) or f'; if it is a text, write "{name}" in quotes'
            expected = "expected a name such as need or class"
            raise _PlacedError(_place(parts[0]), f"{expected}, found {_shown(name)}{hint}")
        return Field(name, _place(parts[0]))

    def flag(self, parts: list[Token]) -> Flag:
        name, place = str(parts[0]), _place(parts[0])
        if parts[0].type == "NAME" and name not in FLAGS:
            if name in FIELDS:
                expected = f"expected a comparison after {name}, such as >="
                raise _PlacedError(place, f"{expected}, found the name alone")
            hint = did_you_mean(name, [*FLAGS, *FIELDS])
            names = f"{', '.join(FLAGS)}, a decision such as decision.call, or a comparison"
            raise _PlacedError(place, f"expected {names}, found {_shown(name)}{hint}")
        return Flag(name, place)

    def probability(self, parts: list[Token]) -> Probability:
        return Probability(str(parts[0]), _place(parts[0]))

    def class_name(self, parts: list[Token]) -> Token:
        token = parts[0]
        return token.update(value=token[1:-1]) if token.type == "TEXT" else token

    def comparison(self, parts: list[Any]) -> Comparison:
        left, operator, right = parts
        _check_types(left, operator, right)
        return Comparison(left, str(operator), right)

    def missing(self, parts: list[Any]) -> Missing:
        operand, negated = parts
        if isinstance(operand, Number | Text):
            raise _PlacedError(
                operand.at, f"expected a name or p(...) before is missing, found a {operand.kind}"
            )
        return Missing(operand, negated is not None)

    def negation(self, parts: list[Any]) -> Negation:
        return Negation(parts[1])

    def all(self, parts: list[Condition]) -> All:
        return All(tuple(parts))

    def any(self, parts: list[Condition]) -> Either:
        return Either(tuple(parts))


def _check_types(left: Operand, operator: Token, right: Operand) -> None:
    if isinstance(left, Number | Text) and isinstance(right, Number | Text):
        raise _PlacedError(
            left.at, "expected a name such as need, or p(...), on one side, found two values"
        )
    if left.kind != right.kind:
        names = {"number": "a number", "text": "a text in quotes"}
        raise _PlacedError(
            right.at, f"expected {names[left.kind]} after {operator}, found {_described(right)}"
        )
    if left.kind == "text" and operator not in ("==", "!="):
        raise _PlacedError(_place(operator), f"expected == or != between texts, found {operator}")

    for one, other in ((left, right), (right, left)):
        is_basis = isinstance(one, Field) and one.name == "basis"
        if is_basis and isinstance(other, Text) and other.value not in BASES:
            raise _PlacedError(other.at, _unknown("a basis", other.value, BASES))


def _described(operand: Operand) -> str:
    if isinstance(operand, Number | Text):
        return f"the {operand.kind} {_shown(str(operand.value))}"
    return f"{_shown(_named(operand))}, a {operand.kind}"


def _named(operand: Field | Probability) -> str:
    return operand.name if isinstance(operand, Field) else f"p({operand.of})"


@cache
def _parser() -> Lark:
    return Lark.open(
        "condition.lark", rel_to=__file__, parser="lalr", transformer=_Builder(),
        maybe_placeholders=True,
    )  # fmt: skip


# What is wrong with a text that does not follow the grammar

_HINTS = {
    "=": "did you mean ==?",
    "&": "did you mean and?",
    "|": "did you mean or?",
    "!": "did you mean != or not?",
    "%": "write a share: 70% is 0.7",
}
_WORDS = {"_AND": "and", "_OR": "or", "_IS": "is", "NOT": "not", "_MISSING": "missing"}


def _refuse(text: str, error: UnexpectedInput) -> NoReturn:
    """Raises what is wrong at the place where the parser stopped."""
    if isinstance(error, UnexpectedToken):
        at, found = _place(error.token), str(error.token)
        if error.token.type == "$END":
            at, found = len(text.rstrip()), "the end"
    else:
        at = cast("int", error.pos_in_stream)
        found = text[at]
    if found in ('"', "'"):
        raise _pointing(text, at, f"expected the closing {found} of this text")

    reading = _parser().parse_interactive(text[:at])
    reading.exhaust_lexer()
    accepted: set[str] = reading.accepts()  # type: ignore[no-untyped-call]
    hint = _HINTS.get(found, "")
    if "_AND" in accepted and found in ("<", "<=", ">", ">=", "==", "!="):
        is_flag = re.search(rf"\b{DECISION}\.\w+\s*$", text[:at]) is not None
        hint = (
            "a decision stands alone or after not"
            if is_flag
            else "compare twice, with and between: 0.3 <= need and need <= 0.5"
        )
    words = [word for terminal, word in _WORDS.items() if terminal in accepted]
    if not hint and len(found) > 1 and (meant := closest(found, words)):
        hint = f"did you mean {meant}?"
    expected = f"expected {_expected(accepted)}, found {_shown(found)}"
    raise _pointing(text, at, f"{expected}; {hint}" if hint else expected)


def _expected(accepted: Collection[str]) -> str:
    """Returns what could stand at a place, from the names of the grammar's terminals."""
    if "_P" in accepted:
        return "a name such as need, p(...), a number or a text in quotes"
    if "NAME" in accepted:
        return "the name of a class"
    if "COMPARE" in accepted:
        return "a comparison such as >="
    if "_MISSING" in accepted:
        return "missing or not missing" if "NOT" in accepted else "missing"
    if "LPAR" in accepted:
        return "a class in parentheses, such as p(not_mastered)"
    if "_AND" in accepted:
        return "and, or, or a closing )" if "RPAR" in accepted else "and, or, or the end"
    return "a closing )"


def _unknown(expected: str, found: str, known: Collection[str]) -> str:
    hint = did_you_mean(found, known)
    names = ", ".join(_shown(name) for name in [*known][:10])
    return f"expected {expected}{'' if hint else f' ({names})'}, found {_shown(found)}{hint}"


def _shown(text: str) -> str:
    return shorten(printable(text), 60)


def _place(token: Token) -> int:
    return token.start_pos or 0


def _pointing(text: str, at: int, reason: str) -> ConditionError:
    """Returns an error that shows the condition with a caret under a character."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:].partition("\n")[0]
    before = printable(line[: at - start])
    caret = " " * sum(2 if east_asian_width(mark) in "WF" else 1 for mark in before)
    return ConditionError(f"in the condition\n    {printable(line)}\n    {caret}^\n{reason}")
