"""How a first model is judged: against guessing and simple models, with confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.proposal.document import flow
from pipeline.proposal.words import RANKS, in_one_spelling

if TYPE_CHECKING:
    from pipeline.proposal.shape import Shape
    from pipeline.proposal.target import Target

CONFIDENCE = 0.95
WAY = 0.1  # how much of the way from guessing to a perfect answer the first gates ask for
COMPARED = 50  # the default of `fairness.min_examples`
RECALL = 0.8  # of those at risk, the share that the first decision finds
_AT_RISK = 1  # the highest rank of a class that calls for help; see `words.RANKS`


@dataclass
class Judging:
    """How a model is judged.

    Attributes:
        evaluation: that section.
        gates: each with a comment.
        decisions: each with a comment.
        fairness: that section; empty where no protected column is known.
        unfair: in its place where there are too few learners to compare.
        min_class_examples: of `data`.
    """

    evaluation: dict[str, Any]
    gates: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    decisions: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    fairness: dict[str, Any] = field(default_factory=dict)
    unfair: str = ""
    min_class_examples: int = 5


def judging_of(target: Target, shape: Shape) -> Judging:
    """Returns gates that guessing fails, decisions about those at risk, and gaps to watch."""
    evaluation: dict[str, Any] = {}
    if target.slices:
        evaluation["slices"] = [*target.slices]
    if target.is_number:
        evaluation["simple_models"] = ["prior", "linear", "trees"]
        judging = Judging(evaluation, min_class_examples=_enough(shape))
        judging.gates = [
            (
                {"metric": "rmse", "min_gain_over": "prior", "confidence": CONFIDENCE},
                "the mean of each unit",
            ),
            ({"metric": "r2", "min": WAY, "confidence": CONFIDENCE}, "0 is what the mean reaches"),
            (
                {"metric": "rmse", "max_change": 0.02},
                "against the blessed model, on the same test split",
            ),
        ]
        return judging

    evaluation["simple_models"] = ["prior", "logistic", "trees"]
    judging = Judging(evaluation, min_class_examples=_enough(shape))
    guessed = _guessed_f1(target)
    judging.gates = [
        (
            {"metric": "auc", "min_gain_over": "prior", "confidence": CONFIDENCE},
            "ranks learners better than the mean of their unit does",
        ),
        (
            {"metric": "f1_macro", "min": _above(guessed), "confidence": CONFIDENCE},
            f"guessing reaches {guessed:.2f}",
        ),
        (
            {"metric": "f1_macro", "min_change": -0.02},
            "against the blessed model, on the same test split",
        ),
    ]
    at_risk = class_at_risk(target)
    if at_risk is not None:
        if target.horizon:
            evaluation["early_warning"] = {"by": target.horizon}
        _add_decision(judging, target, shape, at_risk)
    return judging


def class_at_risk(target: Target) -> str | None:
    """Returns the class that says that somebody may need help; None where none does."""
    ranks = {name: RANKS.get(in_one_spelling(name)) for name in target.classes}
    low = {name: rank for name, rank in ranks.items() if rank is not None and rank <= _AT_RISK}
    return min(low, key=lambda name: low[name]) if low else None


def _add_decision(judging: Judging, target: Target, shape: Shape, at_risk: str) -> None:
    share = target.counts[at_risk] / max(1, len(target.rows))
    judging.decisions.append(
        (
            {"name": "call", "class": at_risk, "recall": RECALL},
            f"finds {RECALL:.0%} of {at_risk} with as few calls as that takes",
        )
    )
    judging.gates.append(
        (
            {
                "decision": "call",
                "metric": "precision",
                "min": math.ceil(100 * share) / 100,
                "confidence": CONFIDENCE,
            },
            f"calling everybody is right for {share:.0%}",
        )
    )
    if target.protected:
        fairness = {"gates": [{"metric": "recall", "class": at_risk, "max_gap": 0.1}]}
        tested = shape.per_split["test"][at_risk]
        smaller = max(target.protected.values())  # share of the second group of the best column
        if smaller * tested >= 1.2 * COMPARED:
            judging.fairness = fairness
        else:
            judging.unfair = (
                f"fairness: {flow(fairness)}  # too few here: about {smaller * tested:.0f} of "
                f"{at_risk} in a second group of the test split, and {COMPARED} are compared"
            )


def _guessed_f1(target: Target) -> float:
    """Returns the macro F1 of the better guess: always the largest class, or any class at random.

    Always naming a class of the share p has the F1 2p / (1 + p) there, and 0 in all others.
    """
    count = len(target.classes)
    largest = max(target.counts.values()) / max(1, len(target.rows))
    return max(1 / count, 2 * largest / (1 + largest) / count)


def _above(guessed: float) -> float:
    return math.floor(100 * (guessed + WAY * (1 - guessed))) / 100


def _enough(shape: Shape) -> int:
    """Returns how many examples of each class a later log needs: half of what this one has."""
    return max(1, min(50, shape.fewest // 2))
