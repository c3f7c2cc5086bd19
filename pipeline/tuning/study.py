"""The Optuna study of a search: what to try next, when to give up, and what is kept.

It is a SQLite database of its own. What is drawn depends on the seed and on the trials that have
ended, not on how often the search was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from components.contracts.tuning import Trial
from components.contracts.tuning import TrialState as State
from pipeline.tuning.space import Choices, Range, Space, contains, rounded

if TYPE_CHECKING:
    from pipeline.tuning.fits import FitEnd

DATABASE = "study.db"
RANDOM_TRIALS = 8  # before the sampler has seen enough to choose by
_UNPRUNED_TRIALS = 4  # before the median of others means something
_UNPRUNED_EPOCHS = 2  # of each trial
_VALUES, _SECONDS, _SAME_AS, _REASON = "values", "seconds", "same_as", "reason"
_STATES: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
}  # fmt: skip


class Study:
    """The trials of one search.

    Args:
        folder: holds the database.
        name: of the study; its trials can be compared with one another.
        space: what is tried.
        given: the values of the given configuration, by key of the space.
        seed: of what is drawn.
    """

    def __init__(
        self, folder: Path, name: str, space: Space, given: Mapping[str, Any], seed: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.name = name
        self._space = space
        self._given = given
        self._seed = seed
        self._distributions = {key: _distribution(item) for key, item in space.keys.items()}
        self._study = optuna.create_study(
            storage=optuna.storages.RDBStorage(f"sqlite:///{folder / DATABASE}"),
            study_name=name,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=_UNPRUNED_EPOCHS + 1
            ),
        )
        self._forget_interrupted()

    @property
    def trials(self) -> list[Trial]:
        """The trials that have ended, in order."""
        return [_described(number, item) for number, item in enumerate(self._ended(), start=1)]

    def start_given(self) -> RunningTrial:
        """Starts the first trial: the given configuration, whose values the space need not have."""
        if contains(self._space, self._given):
            params = {key: self._parameter(key, value) for key, value in self._given.items()}
            self._study.enqueue_trial(params)
            trial = self._study.ask(self._distributions)
        else:
            trial = self._study.ask()
        return self._running(trial, {})

    def start_next(self) -> RunningTrial:
        """Draws the values of the next trial."""
        self._study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS, seed=_mixed(self._seed, len(self._ended()))
        )
        trial = self._study.ask(self._distributions)
        values = {key: self._value(key, trial.params[key]) for key in self._space.keys}
        return self._running(trial, values)

    def importance(self) -> dict[str, float]:
        """Returns how much of the variance of the eval loss each key explains, largest first.

        Empty where fewer than four trials with drawn values are complete, or all have one loss.
        """
        keys = [*self._space.keys]
        complete = [
            item
            for item in self._ended()
            if item.state is TrialState.COMPLETE and all(key in item.params for key in keys)
        ]
        if len(complete) < 4 or len({item.value for item in complete}) < 2:
            return {}
        varied = [key for key in keys if len({item.params[key] for item in complete}) > 1]
        found = optuna.importance.get_param_importances(
            self._study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
            params=varied,
        )
        return {key: float(value) for key, value in found.items()}

    def _running(self, trial: optuna.Trial, values: dict[str, Any]) -> RunningTrial:
        trial.set_user_attr(_VALUES, values)
        same = (item for item in self.trials if values and (item.values or self._given) == values)
        return RunningTrial(self._study, trial, values, next(same, None))

    def _ended(self) -> list[FrozenTrial]:
        """Returns the trials that count: not those that were interrupted."""
        return [
            item
            for item in self._study.get_trials(deepcopy=False)
            if item.state in (TrialState.COMPLETE, TrialState.PRUNED)
            or (item.state is TrialState.FAIL and _REASON in item.user_attrs)
        ]

    def _forget_interrupted(self) -> None:
        """Ends trials of processes that have died; this one has the folder to itself."""
        for item in self._study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)):
            self._study.tell(item.number, state=TrialState.FAIL)

    def _value(self, key: str, parameter: Any) -> Any:
        """Returns the value that a parameter of Optuna stands for."""
        item = self._space.keys[key]
        if isinstance(item, Choices):
            return json.loads(parameter)
        if isinstance(parameter, int):
            return parameter
        return min(max(rounded(parameter), item.low), item.high)

    def _parameter(self, key: str, value: Any) -> Any:
        return json.dumps(value) if isinstance(self._space.keys[key], Choices) else value


class RunningTrial:
    """A trial that has not ended.

    Attributes:
        values: what is tried, by key; empty for the given configuration.
        same: the earlier trial with these values, whose result can be taken over; None without.
    """

    def __init__(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        values: dict[str, Any],
        same: Trial | None,
    ) -> None:
        self._study = study
        self._trial = trial
        self.values = values
        self.same = same

    def after_epoch(self, epoch: int, eval_loss: float) -> bool:
        """Notes an epoch's loss; returns whether to go on."""
        self._trial.report(eval_loss, epoch)
        return not self._trial.should_prune()

    def end(self, end: FitEnd) -> None:
        """Notes how the fit ended."""
        self._note(end.state, min(end.losses, default=None), end.seconds, end.reason)

    def end_like_same(self) -> None:
        """Takes over how the earlier trial with these values ended."""
        if self.same is None:
            return
        self._trial.set_user_attr(_SAME_AS, self.same.same_as or self.same.number)
        if self.same.eval_loss is not None and self.same.epoch is not None:
            self._trial.report(self.same.eval_loss, self.same.epoch)
        self._note(self.same.state, self.same.eval_loss, 0.0, self.same.reason)

    def interrupt(self) -> None:
        """Notes that the fit was not finished; the trial does not count."""
        self._study.tell(self._trial, state=TrialState.FAIL)

    def _note(
        self, state: State, eval_loss: float | None, seconds: float, reason: str | None
    ) -> None:
        self._trial.set_user_attr(_SECONDS, round(seconds, 1))
        if reason is not None:
            self._trial.set_user_attr(_REASON, reason)
        value = eval_loss if state == "complete" else None
        self._study.tell(self._trial, value, state=_STATES[state])


def study_name(*parts: str) -> str:
    """Returns the name of the study whose trials were made from the same things."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _distribution(item: Choices | Range) -> BaseDistribution:
    if isinstance(item, Choices):  # a list is no value that Optuna stores
        return CategoricalDistribution([json.dumps(value) for value in item.choices])
    if item.is_whole:
        step = 1 if item.step is None else int(item.step)
        return IntDistribution(int(item.low), int(item.high), log=item.log, step=step)
    return FloatDistribution(float(item.low), float(item.high), log=item.log, step=item.step)


def _mixed(seed: int, count: int) -> int:
    digest = hashlib.sha256(f"{seed} {count}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _described(number: int, item: FrozenTrial) -> Trial:
    """Returns a trial of Optuna's as the contract has it."""
    losses = item.intermediate_values
    best = min(losses, key=lambda epoch: losses[epoch], default=None)
    state: State = "failed"
    if item.state in (TrialState.COMPLETE, TrialState.PRUNED):
        state = "complete" if item.state is TrialState.COMPLETE else "pruned"
    return Trial(
        number=number,
        state=state,
        values=item.user_attrs.get(_VALUES, {}),
        eval_loss=None if best is None or state == "failed" else losses[best],
        epoch=best if state != "failed" else None,
        epochs=max(losses, default=0),
        seconds=item.user_attrs.get(_SECONDS, 0.0),
        same_as=item.user_attrs.get(_SAME_AS),
        reason=item.user_attrs.get(_REASON),
    )
