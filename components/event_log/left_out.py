"""Leaves out the rows of learners who opted out or were erased, wherever a log is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.contracts.contract import ContractError
from components.contracts.left_out import LeftOutList
from components.contracts.names import LEARNER
from components.errors import ConfigError


@dataclass(frozen=True)
class LeftOut:
    """The learners of a list.

    Attributes:
        known: the list.
    """

    known: LeftOutList

    def of(self, learners: pl.Series) -> pl.Series:
        """Returns which ids are on the list: one boolean per row.

        Args:
            learners: ids, with repetitions and nulls; a null is not on the list.
        """
        digests = self.known.digests
        if not digests:
            return pl.repeat(False, len(learners), eager=True)
        unique = learners.drop_nulls().unique()
        listed = [name for name in unique if self.known.digest(name) in digests]
        return learners.is_in(listed).fill_null(False)

    def drop(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Returns the rows of other learners, in their order."""
        listed = self.of(frame[LEARNER])
        return frame.filter(~listed) if listed.any() else frame


def read_left_out(path: str | None) -> LeftOut | None:
    """Returns the list of a file; None without one.

    Raises:
        ConfigError: the file is missing or is not such a list. A missing list is never an empty
            one: that would train with learners who opted out.
    """
    if path is None:
        return None
    try:
        return LeftOut(LeftOutList.read_file(Path(path)))
    except ContractError as error:
        raise ConfigError(
            f"data.left_out: expected the list of learners who are left out. {error} "
            f"`mastery learner opt-out --list {path}` makes one, of nobody at first."
        ) from None
