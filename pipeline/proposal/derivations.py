"""Chooses an outcome that can be derived from a log, by trying what its columns allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from components.config.outcomes import HORIZON, Derivation
from components.config.root import Config
from components.errors import MasteryError
from components.event_log.derived_outcomes import DECIDED, derive
from components.event_log.log import read_files
from components.event_log.log_spec import LogSpec
from components.event_log.sources import find_files
from components.event_log.tables import outcomes_table
from components.event_log.tally import merge_tallies
from pipeline.proposal.document import flow
from pipeline.proposal.moments import lifetimes_of
from pipeline.proposal.reading import csv_of
from pipeline.proposal.shape import divide
from pipeline.proposal.target import Target, order_classes
from pipeline.proposal.words import Role

if TYPE_CHECKING:
    from pipeline.proposal.moments import Lifetimes
    from pipeline.proposal.overview import Overview
    from pipeline.proposal.profile import Profile
    from pipeline.proposal.reading import Reading
    from pipeline.proposal.tables import OutcomeTable

ENOUGH = 10  # outcomes of each class in each split
MOST_DECIDED = 0.5  # of the questions; more, and what decides is not the end of a unit
LEAST_SHARE = 0.03  # of the rarest class
NEXT = 5  # answers that are looked at
PASS_MARK = 0.5
_GERMAN_PASS = 4.05  # grades from 1 to 5 or 6 of which 1 is best, and 4.0 still passes
_WHAT: dict[Derivation, str] = {
    "grade": "the grade",
    "completion": "whether the unit is completed",
    "next_answers": f"right answers among the next {NEXT}",
    "inactivity": "whether the learner comes back",
}
DERIVATIONS = ("grade", "completion", "next_answers", "inactivity")  # that are proposed
_LABELS: dict[Derivation, str] = {
    "grade": "result",
    "completion": "completion",
    "next_answers": "mastery",
    "inactivity": "activity",
}


@dataclass(frozen=True)
class _Idea:
    """An outcome that might be derived.

    Attributes:
        outcomes: `data.outcomes`.
        classes: of the label, lowest first; empty for a number.
        order: how their order was found.
        csv: `data.outcomes_csv`.
    """

    outcomes: dict[str, Any]
    classes: list[str]
    order: str = ""
    csv: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, Any]:
        """What `data` says about the outcomes."""
        csv = {"outcomes_csv": self.csv} if self.csv else {}
        return {"outcomes": self.outcomes, **csv}

    @property
    def derivation(self) -> Derivation:
        """How it is derived."""
        found: Derivation = self.outcomes["derive"]
        return found


@dataclass
class Choice:
    """Outcomes that can be derived, the first of which is proposed.

    Attributes:
        targets: by derivation, in the order of preference.
        failed: why others are not possible.
    """

    targets: dict[Derivation, Target] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def target(self, wanted: str) -> Target:
        """Returns one of them, with the others as alternatives.

        Args:
            wanted: a derivation; empty for the first.

        Raises:
            MasteryError: it is not possible, or none is.
        """
        known: dict[str, Target] = {str(name): item for name, item in self.targets.items()}
        if not known or (wanted and wanted not in known):
            what = f"outcomes by {wanted}" if wanted else "an outcome that can be derived"
            found = "; ".join(self.failed) or "none"
            raise MasteryError(
                f"Expected {what} with {ENOUGH} or more of every class in every split, "
                f"found none: {found}. Use a longer log, or give a table with --outcomes."
            )
        target = known.get(wanted) or next(iter(known.values()))
        for other in known.values():
            if other is not target:
                target.instead.append(f"outcomes: {flow(other.outcomes)}  # {other.why}")
                label = {"column": other.column, "classes": other.classes}
                target.other_labels.append(f"label: {flow(label)}")
        return target


def choose_derivation(
    overview: Overview, reading: Reading, table: OutcomeTable | None, wanted: str = ""
) -> Choice:
    """Returns the outcomes that can be derived from a log: grades, completion, answers, activity.

    Args:
        overview: its events.
        reading: how they are read.
        table: of grades, if there is one.
        wanted: the only derivation to try; empty for all.
    """
    lifetimes = lifetimes_of(overview)
    choice = Choice()
    reasons: dict[Derivation, str] = {}
    for idea in _ideas(overview, reading, table, lifetimes):
        name = idea.derivation
        if name in choice.targets or wanted not in ("", name):
            continue
        target, reason = _try(idea, overview, reading, lifetimes)
        if target is None:
            reasons[name] = reason
        else:
            choice.targets[name] = target
    choice.failed = [
        f"{name}: {text}" for name, text in reasons.items() if name not in choice.targets
    ]
    return choice


def _ideas(
    overview: Overview, reading: Reading, table: OutcomeTable | None, lifetimes: Lifetimes
) -> Iterator[_Idea]:
    asked: dict[str, Any] = {"at": lifetimes.moments()}
    if lifetimes.after != "learner":
        asked["after"] = lifetimes.after
    if table is not None and Role.LABEL in table.roles:
        yield _grades_of(table, asked)

    answers = reading.answers
    if score := answers.get(Role.SCORE):
        yield from _grades_in_events(overview.events[score], score, asked)
    if completed := answers.get(Role.COMPLETED):
        of_column = {} if completed == "completed" else {"event_column": completed}
        yield _Idea({"derive": "completion", **asked, **of_column}, ["not_completed", "completed"])
    if correct := answers.get(Role.CORRECT):
        of_column = {} if correct == "correct" else {"event_column": correct}
        classes = ["not_mastered", "partial", "proficient"]
        yield _Idea(
            {"derive": "next_answers", **asked, "next": NEXT, "cuts": [2, 4], **of_column}, classes
        )
    for window in lifetimes.windows():
        yield _Idea({"derive": "inactivity", **asked, "window": window}, ["inactive", "active"])


def _grades_of(table: OutcomeTable, asked: dict[str, Any]) -> _Idea:
    """Returns the grade in a table as an outcome."""
    profiles = {profile.name: profile for profile in table.profiles}
    label = profiles[table.roles[Role.LABEL].column]
    paths = [*table.look.patterns]
    outcomes = {"derive": "grade", **asked, "table": paths[0] if len(paths) == 1 else paths}
    if label.name != "grade":
        outcomes["column"] = label.name
    if ways := table.mapping:
        outcomes["mapping"] = ways
    if label.numbers is None or (label.is_whole and label.distinct <= 4):
        classes, order = order_classes(label)
        return _Idea(outcomes, classes, order, csv_of(table.look))
    cuts, classes, order = _cut(label)
    return _Idea({**outcomes, "cuts": cuts}, classes, order, csv_of(table.look))


def _cut(label: Profile) -> tuple[list[float], list[str], str]:
    """Returns where numbers are cut into classes, those, and why there."""
    assert label.numbers is not None
    low, high = label.quantile(0), label.quantile(1)
    if low >= 1 and high <= 6 and label.has_commas:
        why = "grades of which 1 is best, and 4.0 passes"
        return [_GERMAN_PASS], ["passed", "not_passed"], why
    thirds = sorted({float(f"{label.quantile(share):.3g}") for share in (1 / 3, 2 / 3)})
    names = ["low", "medium", "high"] if len(thirds) == 2 else ["low", "high"]
    return thirds, names, f"thirds of the learners, of {low:g} to {high:g}"


def _grades_in_events(scores: pl.Series, column: str, asked: dict[str, Any]) -> Iterator[_Idea]:
    """Yields ways to cut the last score of a learner into classes."""
    known = scores.drop_nulls()
    if known.n_unique() < 2:
        return
    of_column = {} if column == "score" else {"event_column": column}
    highest = float(known.max())  # type: ignore[arg-type]
    mark = PASS_MARK if highest <= 1 else PASS_MARK * highest
    outcomes = {"derive": "grade", **asked, **of_column}
    yield _Idea({**outcomes, "cuts": [mark]}, ["failed", "passed"], "half of the points pass")
    middle = float(f"{float(known.median()):.3g}")  # type: ignore[arg-type]
    if middle != mark:
        yield _Idea({**outcomes, "cuts": [middle]}, ["low", "high"], "cut at the median score")


def _try(
    idea: _Idea,
    overview: Overview,
    reading: Reading,
    lifetimes: Lifetimes,
) -> tuple[Target | None, str]:
    """Returns the target of an idea, or why it is none."""
    label = _LABELS[idea.derivation]
    spec = _spec_of(idea, reading, label)
    chunks, files, tallies = [], [], [overview.tally]
    if "table" in idea.outcomes:
        read = read_files(outcomes_table(spec), find_files("outcomes", _paths(idea)))
        chunks, files = read.chunks, read.files
        tallies += read.tallies
    rows, tally = derive(overview.events, chunks, spec, merge_tallies(tallies), files)
    if tally.problems:
        return None, str(tally.problems[0])
    if rows.is_empty():
        unasked = tally.unasked.most_common(1)
        return None, f"no outcomes ({unasked[0][0]})" if unasked else "no outcomes"

    decided = tally.unasked[DECIDED] / (rows.height + tally.unasked.total())
    if decided > MOST_DECIDED:
        return None, f"decided before the moment for {decided:.0%}: is it of parts of a unit?"

    target = Target(idea.outcomes, label, idea.classes, "", idea.order, rows=rows, csv=idea.csv)
    _, counts = divide(target, overview.share)
    fewest = min(count for classes in counts.values() for count in classes.values())
    shares = {name: count / rows.height for name, count in target.counts.items()}
    seen = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    if fewest < ENOUGH or min(shares.values()) < LEAST_SHARE:
        return None, f"{rows.height:,} outcomes ({seen}), {fewest} of the rarest in a split"

    target.why = f"{_WHAT[idea.derivation]}: {seen}; {lifetimes.words}"
    if len(idea.outcomes["at"]) > 1:
        target.horizon = HORIZON
        target.slices.append(HORIZON)
    return target, ""


def _paths(idea: _Idea) -> Sequence[str]:
    """Returns the files of an idea's table."""
    table = idea.outcomes["table"]
    return [table] if isinstance(table, str) else table


def _spec_of(idea: _Idea, reading: Reading, label: str) -> LogSpec:
    """Returns how a log is read for an idea, with nothing else configured."""
    task: Literal["classification", "regression"] = (
        "classification" if idea.classes else "regression"
    )
    config = Config.model_validate(
        {
            "name": "idea",
            "data": {**reading.data, **idea.data},
            "schema": "none",
            "label": {"column": label, "task": task, "classes": idea.classes},
            "steps": {"features": {"time_to_as_of": {"type": "numeric"}}},
            "gates": [{"metric": "f1_macro" if idea.classes else "rmse", "min": 0}],
        }
    )
    return LogSpec.of(config)
