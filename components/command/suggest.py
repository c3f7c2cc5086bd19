"""Suggests the known name that a mistyped one was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name most like `name`, or None if none is like it.

    Upper and lower case count as the same, so that `F1_Macro` finds `f1_macro`.

    >>> closest("max_step", ["hidden_units", "max_steps"])
    'max_steps'
    >>> closest("colour", ["max_steps"]) is None
    True
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a text to append to an error about the unknown `name`; empty if no name is like it.

    >>> did_you_mean("max_step", ["hidden_units", "max_steps"])
    '; did you mean max_steps?'
    >>> did_you_mean("colour", ["hidden_units", "max_steps"])
    ''
    """
    candidate = closest(name, known)
    return f"; did you mean {candidate}?" if candidate else ""
