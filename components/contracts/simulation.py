"""`simulation.json`: what a simulated log was made with, beside its tables."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar

from pydantic import Field, model_validator

from components.contracts.contract import Contract


class Simulation(Contract):
    """A simulated log.

    Attributes:
        learners: number of learners; of each week, if there are weeks.
        seed: seed of the random numbers.
        table_format: `parquet`, `csv` or `jsonl`.
        code: fingerprint of the simulator's code.
        bias: the bias that was planted; None without one.
        weeks: number of deliveries, each in a folder of its own; None: one log, in this folder.
        first_day: of the first week.
        changes: changes of course, as KIND:WEEK.
        events: rows of events.
        classes: rows of outcomes per class.
        sizes: bytes of each file, by its path in the folder.
    """

    FILE: ClassVar[str] = "simulation.json"

    learners: int
    seed: int
    table_format: str
    code: str
    bias: str | None = None
    weeks: int | None = None
    first_day: date | None = None
    changes: tuple[str, ...] = ()
    events: int
    classes: dict[str, int]
    sizes: dict[str, int] = Field(alias="bytes")

    @model_validator(mode="before")
    @classmethod
    def _read_first_format(cls, values: Any) -> Any:
        # Files without a format number have the format of the tables under its key.
        is_first = isinstance(values, dict) and "table_format" not in values
        if is_first and isinstance(values.get("format"), str):
            return {**values, "format": 1, "table_format": values["format"]}
        return values

    def is_made_like(self, other: Simulation) -> bool:
        """Returns whether both were made by the same code from the same arguments."""
        made_with = {
            "learners",
            "seed",
            "table_format",
            "code",
            "bias",
            "weeks",
            "first_day",
            "changes",
        }
        return self.model_dump(include=made_with) == other.model_dump(include=made_with)
