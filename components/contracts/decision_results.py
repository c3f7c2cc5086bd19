"""How decisions went on the test split, and how early they are right."""

from __future__ import annotations

from components.contracts.contract import Part


class DecisionResults(Part):
    """One decision on all test examples.

    Attributes:
        name: of the decision.
        class_: the class it is about.
        threshold: the probability at which it is taken.
    """

    name: str
    class_: str
    threshold: float
