"""`verdict.json`: what DataGate found wrong with the examples and let pass."""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract, Part


class Anomaly(Part):
    """One column of one split that does not fit the schema.

    Attributes:
        split: name of the split.
        column: name of the column; `(examples)` for the split as a whole.
        stops: whether it stops the run; if not, TFDV's severity is WARNING.
        expected: what the schema says.
        found: what the examples hold, with counts wherever the statistics have them.
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
