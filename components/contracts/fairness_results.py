"""Gaps between groups of learners, as measured on the test split."""

from __future__ import annotations

from components.contracts.contract import Part


class FairnessResults(Part):
    """Gaps by column.

    Attributes:
        columns: the columns that were compared.
    """

    columns: list[list[str]] = []
