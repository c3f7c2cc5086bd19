"""The tree of an alert's condition, and what can be named in one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from components.contracts.names import BASIS_PRIOR, BASIS_SEQUENCE, BASIS_UNFAMILIAR

Kind = Literal["number", "text"]

FIELDS: dict[str, tuple[Kind, str]] = {
    "need": ("number", "the expected benefit of help, 0 to 1"),
    "prediction": ("number", "the predicted number, of a regression"),
    "horizon": ("number", "days since the learner's first event in the unit"),
    "days_since_visit": ("number", "days since the learner's last event in the unit"),
    "days_in_class": ("number", "days since the first of the uninterrupted answers of this class"),
    "class": ("text", "the most probable class"),
    "previous_class": ("text", "the class before that"),
    "basis": ("text", '"sequence", "unfamiliar", or "prior" for too few events'),
    "unit": ("text", "the unit's id"),
    "course": ("text", "the course that the unit belongs to"),
    "group": ("text", "the id of the learner's group"),
    "region": ("text", "the region of that group"),
}
CLASS_FIELDS = ("class", "previous_class")
BASES = (BASIS_SEQUENCE, BASIS_PRIOR, BASIS_UNFAMILIAR)
DECISION = "decision"  # before the name of a decision: decision.call
FLAGS = {
    "not_sure": "the model cannot tell the classes apart",
    "unfamiliar": "the learner is unlike those whom the model has seen",
}


@dataclass(frozen=True)
class Number:
    """A number that stands in the condition."""

    value: float
    at: int = field(compare=False, default=0)
    kind: ClassVar[Kind] = "number"


@dataclass(frozen=True)
class Text:
    """A text in quotes."""

    value: str
    at: int = field(compare=False, default=0)
    kind: ClassVar[Kind] = "text"


@dataclass(frozen=True)
class Field:
    """What is known of an answer: one of `FIELDS`."""

    name: str
    at: int = field(compare=False, default=0)

    @property
    def kind(self) -> Kind:
        """What it can be compared with."""
        return FIELDS[self.name][0]


@dataclass(frozen=True)
class Probability:
    """The probability of a class."""

    of: str
    at: int = field(compare=False, default=0)
    kind: ClassVar[Kind] = "number"


Operand = Number | Text | Field | Probability


@dataclass(frozen=True)
class Comparison:
    """Two operands of one kind, and how they have to stand to each other."""

    left: Operand
    operator: str
    right: Operand


@dataclass(frozen=True)
class Missing:
    """Whether an operand is missing."""

    operand: Field | Probability
    negated: bool


@dataclass(frozen=True)
class Negation:
    """The opposite of a condition."""

    part: Condition


@dataclass(frozen=True)
class All:
    """Conditions that all have to hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """Conditions of which one has to hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Flag:
    """Whether something holds of the answer: one of `FLAGS`, or that a decision is taken."""

    name: str
    at: int = field(compare=False, default=0)

    @property
    def decision(self) -> str | None:
        """The decision's name; None for another flag."""
        kind, _, name = self.name.partition(".")
        return name if kind == DECISION else None


Condition = Comparison | Missing | Flag | Negation | All | Either
