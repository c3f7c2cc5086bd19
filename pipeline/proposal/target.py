"""What a first model predicts: a label that somebody gives, or an outcome derived from events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from components.config.emotions import emotion_in
from components.contracts.names import AS_OF, LEARNER, UNIT
from components.errors import MasteryError
from pipeline.proposal.reading import csv_of, explain, input_name
from pipeline.proposal.words import RANKS, Role, in_one_spelling, match_name

if TYPE_CHECKING:
    from pipeline.proposal.look import Look
    from pipeline.proposal.profile import Profile
    from pipeline.proposal.roles import Guess

MOST_CLASSES = 10
MOST_GROUPS = 12  # different values of a column to slice by


@dataclass
class Target:
    """What is predicted.

    Attributes:
        outcomes: `data.outcomes`.
        column: of the label.
        classes: lowest first; empty for a number.
        why: how it was chosen.
        order: how the order of the classes was found.
        instead: other outcomes, each a line of YAML.
        other_labels: the same for the label.
        rows: `learner_id`, `unit_id`, `as_of` and the label as text, of some learners.
        slices: columns of the table to slice by.
        protected: those of them that are protected, with the share of their second largest group.
        left: further columns of the table, and why they are no inputs.
        csv: `data.outcomes_csv`.
        horizon: column with how late is asked, where that is at several moments.
    """

    outcomes: Any
    column: str
    classes: list[str]
    why: str
    order: str = ""
    instead: list[str] = field(default_factory=list)
    other_labels: list[str] = field(default_factory=list)
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    slices: list[str] = field(default_factory=list)
    protected: dict[str, float] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    horizon: str = ""
    csv: dict[str, Any] = field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        """Whether a number is predicted."""
        return not self.classes

    @property
    def counts(self) -> dict[str, int]:
        """How many outcomes of each class there are among `rows`."""
        found = dict(self.rows[self.column].alias("class").value_counts(name="rows").iter_rows())
        return {name: found.get(name, 0) for name in self.classes}


def target_in(look: Look, profiles: Sequence[Profile], roles: Mapping[Role, Guess]) -> Target:
    """Returns the label that a table of outcomes gives.

    Raises:
        MasteryError: no column of it could be a label.
    """
    by_name = {profile.name: profile for profile in profiles}
    guess = roles.get(Role.LABEL)
    if guess is None:
        raise MasteryError(
            f"{look.patterns[0]}: expected a column with a label (2 to {MOST_CLASSES} classes, or "
            f"numbers), found {', '.join(by_name)}; name it with --label COLUMN, or let outcomes "
            "be derived with --outcome inactivity."
        )
    if word := emotion_in(guess.column):
        raise MasteryError(
            f"{look.patterns[0]}: expected a label that infers no emotion, found {guess.column} "
            f"({word}); name another with --label COLUMN."
        )
    label = by_name[guess.column]
    is_number = label.numbers is not None and (label.distinct > MOST_CLASSES or not label.is_whole)
    if not is_number and label.distinct > MOST_CLASSES:
        raise MasteryError(
            f"{look.patterns[0]}, column {label.name}: expected at most {MOST_CLASSES} classes, "
            f"found {label.distinct:,} different values; name another with --label COLUMN."
        )

    classes, order = ([], "") if is_number else order_classes(label)
    paths = look.patterns
    target = Target(
        paths[0] if len(paths) == 1 else [*paths], label.name, classes, explain(guess), order
    )
    target.other_labels = [f"label: {{column: {name}, ...}}" for name in guess.others]
    target.csv = csv_of(look)
    sort_columns(profiles, roles, target)
    return target


def sort_columns(profiles: Sequence[Profile], roles: Mapping[Role, Guess], target: Target) -> None:
    """Finds among the further columns of a table those to slice by, and says what others are."""
    keys = {guess.column for guess in roles.values()}
    for profile in profiles:
        if profile.name not in keys:
            _sort_in(profile, target)


def _sort_in(profile: Profile, target: Target) -> None:
    """Makes a further column of outcomes one to slice by, or says why it is nothing."""
    name = profile.name
    if input_name(name) != name:
        target.left[name] = "rename it (letters, digits and _) to slice by it"
        return
    few = 2 <= profile.distinct <= MOST_GROUPS and profile.numbers is None
    if match_name(name, Role.PROTECTED) == 1 and 2 <= profile.distinct <= MOST_GROUPS:
        second = profile.values.filter(profile.values == profile.words[1])
        target.protected[name] = len(second) / profile.rows
        target.slices.append(name)
    elif match_name(name, Role.PERSON) == 1 or profile.looks_like_a_person:
        target.left[name] = "says who somebody is"
    elif match_name(name, Role.LABEL) == 1 or match_name(name, Role.SCORE) == 1:
        target.left[name] = "another outcome"
    elif few:
        target.slices.append(name)
    else:
        target.left[name] = "read only if `context` names it: is it known at as_of?"


def order_classes(label: Profile) -> tuple[list[str], str]:
    """Returns the classes of a label, lowest first, and how their order was found."""
    words = sorted(label.words)
    if label.numbers is not None:
        return sorted(words, key=float), "by number"
    ranks = {word: RANKS.get(in_one_spelling(word)) for word in words}
    known = [rank for rank in ranks.values() if rank is not None]
    if len(known) == len(words) and len({*known}) == len(known):
        return sorted(words, key=lambda word: ranks[word] or 0), "lowest first, by what they mean"
    return words, "in the order of the alphabet: write the lowest first"


def table_names(roles: Mapping[Role, Guess]) -> dict[str, str]:
    """Returns what a table of outcomes calls the columns of every log."""
    names = {LEARNER: Role.LEARNER, UNIT: Role.UNIT, AS_OF: Role.AS_OF}
    return {name: roles[role].column for name, role in names.items() if role in roles}
