"""Which features the model's answers rest on, and whether its reasons are right."""

from __future__ import annotations

from components.contracts.contract import Part


class ImportanceResults(Part):
    """Attributions over many examples.

    Attributes:
        examples: how many were explained.
    """

    examples: int
