from __future__ import annotations

import doctest

from components.command import suggest
from components.command.suggest import closest, did_you_mean

KNOWN = ["hidden_units", "max_steps", "Zürich"]


def test_the_examples_of_suggest_hold():
    assert doctest.testmod(suggest).failed == 0


def test_a_mistyped_name_finds_the_one_that_was_meant():
    assert closest("maxsteps", KNOWN) == "max_steps"
    assert did_you_mean("maxsteps", KNOWN) == "; did you mean max_steps?"


def test_case_makes_no_difference():
    assert closest("MAX_STEPS", KNOWN) == "max_steps"
    assert closest("zürich", KNOWN) == "Zürich"


def test_a_name_like_no_other_suggests_nothing():
    assert closest("colour", KNOWN) is None
    assert did_you_mean("colour", KNOWN) == ""
    assert did_you_mean("max_steps", []) == ""


def test_known_names_may_come_from_any_iterable():
    assert did_you_mean("maxsteps", (name for name in KNOWN)) == "; did you mean max_steps?"
