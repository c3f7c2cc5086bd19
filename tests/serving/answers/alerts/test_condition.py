"""The language of conditions: what it takes, and errors that point at the place."""

from __future__ import annotations

import doctest

import pytest

from serving.answers.alerts import condition
from serving.answers.alerts.condition import (
    ConditionError,
    check_classes,
    classes_in,
    parse_condition,
)
from serving.answers.alerts.tree import (
    All,
    Comparison,
    Either,
    Field,
    Flag,
    Missing,
    Negation,
    Number,
    Probability,
    Text,
)

CLASSES = ["not_mastered", "partial", "proficient"]


def refused(text: str) -> tuple[str, str]:
    """Returns what an error says, and what stands at its caret."""
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)
    return explained(caught.value)


def explained(error: ConditionError) -> tuple[str, str]:
    _, line, caret, reason = str(error).split("\n")
    return reason, line[caret.index("^") :]


def test_the_examples_hold() -> None:
    assert doctest.testmod(condition).failed == 0


def test_a_condition_is_parsed_with_its_precedence() -> None:
    parsed = parse_condition(
        'p(not_mastered) >= .7 and not horizon > 14 or (unit == "a b" or group is not missing)'
    )
    assert parsed == Either((
        All((
            Comparison(Probability("not_mastered"), ">=", Number(0.7)),
            Negation(Comparison(Field("horizon"), ">", Number(14.0))),
        )),
        Either((
            Comparison(Field("unit"), "==", Text("a b")),
            Missing(Field("group"), negated=True),
        )),
    ))  # fmt: skip


def test_flags_stand_alone() -> None:
    parsed = parse_condition("decision.call_now and not (not_sure or unfamiliar) or need > 1")
    assert parsed == Either((
        All((
            Flag("decision.call_now"), Negation(Either((Flag("not_sure"), Flag("unfamiliar")))),
        )),
        Comparison(Field("need"), ">", Number(1.0)),
    ))  # fmt: skip
    assert Flag("decision.call_now").decision == "call_now"
    assert Flag("not_sure").decision is None


def test_decisions_are_checked_against_those_of_the_model() -> None:
    check_classes("decision.call", CLASSES, has_numbers=False, decisions=["call"])
    with pytest.raises(ConditionError) as caught:
        check_classes("need > 0 or decision.cal", CLASSES, has_numbers=False, decisions=["call"])
    assert explained(caught.value) == (
        "expected a decision of the model, found cal; did you mean call?", "decision.cal",
    )  # fmt: skip
    with pytest.raises(ConditionError, match="expected a model that takes decisions"):
        check_classes("decision.call", CLASSES, has_numbers=False)


def test_classes_may_be_any_text_and_names_may_begin_with_a_word_of_the_grammar() -> None:
    parsed = parse_condition("p(0) > 0.5 or p('at risk') > 0.5 or p(0) < p(and_more)")
    assert classes_in(parsed) == ["0", "at risk", "and_more"]
    assert parse_condition("basis == 'prior'and need<1") == parse_condition(
        'basis=="prior" and\n  need < 1.0'
    )


@pytest.mark.parametrize(
    ("text", "at", "reason"),
    [
        ("", "", "expected a name such as need, p(...), a number or a text in quotes, found "
         "the end"),
        ("need >", "", "expected a name such as need, p(...), a number or a text in quotes, found "
         "the end"),
        ("need", "need", "expected a comparison after need, such as >=, found the name alone"),
        ("not_sur", "not_sur",
         "expected not_sure, unfamiliar, a decision such as decision.call, or a comparison, found "
         "not_sur; did you mean not_sure?"),
        ("decision.call == 1", "== 1",
         "expected and, or, or the end, found ==; a decision stands alone or after not"),
        ("not_sure == 1", "not_sure == 1",
         "expected not_sure alone or after not, found a comparison of it"),
        ("decision. and need > 1", ". and need > 1", "expected a comparison such as >=, found ."),
        ("need = 0.7", "= 0.7", "expected a comparison such as >=, found =; did you mean ==?"),
        ("need > 1 && unit == 'a'", "&& unit == 'a'",
         "expected and, or, or the end, found &; did you mean and?"),
        ("need > 1 AND need < 2", "AND need < 2",
         "expected and, or, or the end, found AND; did you mean and?"),
        ("(need > 1", "", "expected and, or, or a closing ), found the end"),
        ("need > 1)", ")", "expected and, or, or the end, found )"),
        ("need > 1 and and need < 2", "and need < 2",
         "expected a name such as need, p(...), a number or a text in quotes, found and"),
        ("0.3 <= need <= 0.5", "<= 0.5",
         "expected and, or, or the end, found <=; compare twice, with and between: "
         "0.3 <= need and need <= 0.5"),
        ("need > 70%", "%", "expected and, or, or the end, found %; write a share: 70% is 0.7"),
        ("p > 1", "> 1", "expected a class in parentheses, such as p(not_mastered), found >"),
        ("p() > 1", ") > 1", "expected the name of a class, found )"),
        ("p(a > 1", "> 1", "expected a closing ), found >"),
        ("unit == 'abc", "'abc", "expected the closing ' of this text"),
        ("group is nto missing", "nto missing",
         "expected missing or not missing, found nto; did you mean not?"),
        ("'a' is missing", "'a' is missing",
         "expected a name or p(...) before is missing, found a text"),
        ("hroizon < 14", "hroizon < 14",
         "expected a name such as need or class, found hroizon; did you mean horizon?"),
        ("class == partial", "partial",
         'expected a name such as need or class, found partial; if it is a text, write "partial" '
         "in quotes"),
        ("need > 'a'", "'a'", "expected a number after >, found the text a"),
        ("unit == need", "need", "expected a text in quotes after ==, found need, a number"),
        ("class > 'a'", "> 'a'", "expected == or != between texts, found >"),
        ("0.5 > 0.4", "0.5 > 0.4",
         "expected a name such as need, or p(...), on one side, found two values"),
        ("basis == 'seqence'", "'seqence'",
         "expected a basis, found seqence; did you mean sequence?"),
        ("need > 1 or\n  hroizon < 3", "hroizon < 3",
         "expected a name such as need or class, found hroizon; did you mean horizon?"),
    ],
)  # fmt: skip
def test_errors_point_at_the_place(text: str, at: str, reason: str) -> None:
    assert refused(text) == (reason, f"{at}" if at else "")


def test_the_caret_stands_below_wide_characters_and_control_characters_are_spelled_out() -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition("unit == '单元' and nede > 1")
    _, line, caret, _ = str(caught.value).split("\n")
    assert caret.index("^") == line.index("nede") + 2  # two characters that are two columns wide

    with pytest.raises(ConditionError, match=r"found \\x1b"):
        parse_condition("need > \x1b[31m")


def test_a_condition_has_a_length() -> None:
    with pytest.raises(ConditionError, match="expected at most 1000 characters, found 1001"):
        parse_condition(" " * 1001)
    parse_condition("not " * 240 + "need > 0.1")


@pytest.mark.parametrize(
    ("text", "at", "reason"),
    [
        ("need > 0.1 and p(not_mastred) > 0.5", "not_mastred) > 0.5",
         "expected one of the model's classes, found not_mastred; did you mean not_mastered?"),
        ("class != 'x'", "'x'",
         "expected one of the model's classes (not_mastered, partial, proficient), found x"),
        ("'partal' == previous_class", "'partal' == previous_class",
         "expected one of the model's classes, found partal; did you mean partial?"),
        ("not (prediction < 3)", "prediction < 3)",
         "expected p(...) or class, found prediction: the model answers with classes"),
    ],
)  # fmt: skip
def test_classes_are_checked_against_those_of_the_model(text: str, at: str, reason: str) -> None:
    with pytest.raises(ConditionError) as caught:
        check_classes(text, CLASSES, has_numbers=False)
    assert explained(caught.value) == (reason, at)


def test_what_a_model_answers_with_is_accepted() -> None:
    check_classes("p(partial) > 0.5 and class != previous_class", CLASSES, has_numbers=False)
    check_classes("prediction < 3 or basis == 'prior'", [], has_numbers=True)
    check_classes("prediction < 3 or p(partial) > 0.5", CLASSES, has_numbers=True)
    with pytest.raises(ConditionError, match="expected prediction, found p\\(low\\)"):
        check_classes("p(low) > 0.5", [], has_numbers=True)
    with pytest.raises(ConditionError, match="expected prediction, found class"):
        check_classes("class is missing", [], has_numbers=True)
