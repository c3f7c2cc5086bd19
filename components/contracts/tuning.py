"""`tuning.json`: the trials of a search for better training settings, and the best of them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from components.contracts.contract import Contract, Part
from components.contracts.provenance import DataProvenance

TrialState = Literal["complete", "pruned", "failed"]


class Trial(Part):
    """One trial.

    Attributes:
        number: from 1, in the order in which trials ran.
        state: complete; pruned, ended early because others were better at the same epoch; or
            failed: the fit diverged, or the configuration refuses these values together.
        values: what was tried, by key of the configuration; only the keys that differ from the
            given configuration's in the first trial, which is that configuration: none.
        eval_loss: the loss on the eval split in the best epoch so far; None for a failed trial.
        epoch: that epoch, from 1.
        epochs: how many epochs were fitted.
        seconds: how long the fit took; 0 for values that an earlier trial had.
        same_as: number of the earlier trial with these values, whose result was taken over.
        reason: why it failed.
    """

    number: int
    state: TrialState
    values: dict[str, Any]
    eval_loss: float | None = None
    epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    same_as: int | None = None
    reason: str | None = None


class Tuning(Contract):
    """A search, as far as it went.

    Attributes:
        name: of the pipeline.
        study: name of the Optuna study in `study.db`; one for each configuration, data, code and
            search space.
        config: fingerprint of the given configuration.
        code: fingerprint of the code that fits.
        data: what the fits read.
        version: of Mastery.
        space: the search space, by key of the configuration.
        trials: all of them; the first is the given configuration.
        best: number of the trial with the lowest eval loss.
        importance: how much of the variance of the eval loss each key explains, over complete
            trials; empty where there are too few.
    """

    FILE: ClassVar[str] = "tuning.json"

    name: str
    study: str
    config: str
    code: str
    data: DataProvenance
    version: str
    space: dict[str, dict[str, Any]]
    trials: list[Trial]
    best: int
    importance: dict[str, float] = {}

    @property
    def given(self) -> Trial:
        """The trial of the given configuration."""
        return self.trials[0]

    @property
    def best_trial(self) -> Trial:
        """The trial with the lowest eval loss."""
        return self.trials[self.best - 1]
