"""`tracking.json`: which servers were told of a run, beside its record."""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract, Part


class Told(Part):
    """What a server was told.

    Attributes:
        address: of the server; another one has to be told anew.
        state: how the run had ended then.
        id: the server's own id of the run; None for a receiver that gives none.
    """

    address: str
    state: str
    id: str | None = None


class TrackingRecord(Contract, frozen=False):
    """Which servers were told of a run, to the end.

    Attributes:
        told: what each was told, by `mlflow` and `openlineage`.
    """

    FILE: ClassVar[str] = "tracking.json"

    told: dict[str, Told] = {}
