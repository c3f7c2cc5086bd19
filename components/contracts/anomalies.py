"""`verdict.json`: the anomalies of a run's examples that DataGate let pass."""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract, Part


class Anomaly(Part):
    """One column of one split that does not fit the schema.

    Attributes:
        split: name of the split.
        column: name of the column; `(examples)` for the split as a whole.
        stops: whether it stops the run; if not, TFDV's severity is WARNING.
        expected: the values that the schema allows.
        found: the values of the examples, with counts if the statistics have them.

    >>> print(Anomaly(split="train", column="x", stops=True, expected="numbers", found="text"))
    train, x: expected numbers; found text.
    """

    split: str
    column: str
    stops: bool
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.split}, {self.column}: expected {self.expected}; found {self.found}."


class FoundAnomalies(Contract):
    """All anomalies of a run that DataGate let pass: none, or warnings."""

    FILE: ClassVar[str] = "verdict.json"

    anomalies: list[Anomaly] = []
