"""Searches for settings of the fit with a lower loss on the eval split; the test split is not read.

The nodes before the Trainer run once, from the cache where nothing changed. Each trial then is one
fit, as the Trainer does it, to the same transformed examples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from components.config import load_config
from components.contracts.provenance import DataProvenance
from components.contracts.tuning import Trial, Tuning
from components.errors import ConfigError, MasteryError
from components.node.cache_key import code_fingerprint
from components.node.node_id import Node
from components.node.settings import TrainerSettings
from pipeline.layout import Layout
from pipeline.run.local import run_pipeline, terminate_as_interrupt
from pipeline.run.prepare import lock_root, nodes_of
from pipeline.tuning.best import write_best
from pipeline.tuning.fits import FitEnd, FitError, Fits, Inputs
from pipeline.tuning.render import describe_trial, write_page
from pipeline.tuning.space import Space, load_space, settings_of, values_of
from pipeline.tuning.study import RunningTrial, Study, study_name

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.config import Config

RUN_FN = "components.trainer.run.run_fn"


class TuningInterruptedError(MasteryError):
    """A search was interrupted; the trials that had ended are kept."""

    exit_code = 130


@dataclass(frozen=True)
class Search:
    """What is asked of a search.

    Attributes:
        config: the file of the given configuration.
        overrides: `key=value` options that it is loaded with, in every trial.
        space: the file of the search space; None for the default one.
        root: the folder that keeps everything.
        trials: how many there are to be at the end, with those of earlier calls.
        seed: of what is drawn.
        seconds: no trial is started after so long; None: without an end.
    """

    config: Path
    overrides: tuple[str, ...]
    space: Path | None
    root: Path
    trials: int
    seed: int = 0
    seconds: float | None = None

    def load(self, values: Iterable[str] = ()) -> Config:
        """Returns the configuration with the values of a trial."""
        return load_config(self.config, [*self.overrides, *values])


def tune(search: Search, *, console: PlainConsole) -> Tuning:
    """Runs trials until there are as many as asked for; returns all, and writes the best.

    The same call goes on after an interruption, or with more trials.

    Args:
        search: what to try.
        console: where progress is shown.

    Returns:
        What is also in `tuning.json`, beside `tuning.md`, `best.yaml` and `best.diff`.

    Raises:
        ConfigError: the space or the configuration cannot be used.
        TuningInterruptedError: Ctrl-C, or the process was asked to end.
        MasteryError: the nodes before the Trainer, or the given configuration, failed.
    """
    config = search.load()
    if config.training.workers > 1:
        raise ConfigError(
            f"training.workers: expected 1, since trials are fitted in one process, found "
            f"{config.training.workers}; add --set training.workers=1. A run with the best "
            "values may have any number."
        )
    space = load_space(search.space, search.config, search.overrides)
    layout = Layout(search.root.resolve(), config.name)
    with lock_root(layout.tuning):
        inputs = _prepare(config, layout, console)
        name = _study_of(config, layout, inputs, space)
        study = Study(layout.tuning, name, space, values_of(config, space), search.seed)
        try:
            with terminate_as_interrupt():
                _run_trials(search, study, inputs, layout, console)
        except KeyboardInterrupt:
            done = len(study.trials)
            raise TuningInterruptedError(
                f"interrupted after {done} trial{'s' * (done != 1)}, which are kept. The same "
                "command goes on."
            ) from None
        return _conclude(search, config, study, space, inputs, layout)


def _prepare(config: Config, layout: Layout, console: PlainConsole) -> Inputs:
    """Runs the nodes before the Trainer, and returns what they have made.

    Raises:
        MasteryError: they failed.
    """
    before = nodes_of(config)[nodes_of(config).index(Node.TRAINER) - 1]
    record = run_pipeline(config, layout.root, to_node=before, console=console)
    if record.state == "interrupted":
        raise TuningInterruptedError("interrupted before the first trial.")
    if record.state != "passed":
        raise MasteryError(str(record.error))

    from pipeline.store.lookups import open_history

    with open_history(config.metadata, layout) as history:
        executions = history.latest_executions(record.run)
        results = {Node(node): history.result_of(item) for node, item in executions.items()}
    return Inputs.of(results, record.data or DataProvenance())


def _study_of(config: Config, layout: Layout, inputs: Inputs, space: Space) -> str:
    """Returns the name of the study whose eval losses can be compared with those of now."""
    paths = (inputs.examples, inputs.transform_graph, inputs.base_model or "")
    return study_name(
        TrainerSettings.of(config).to_property(),
        code_fingerprint(RUN_FN),
        *(path.removeprefix(str(layout.root)) for path in paths),
        repr(space.as_json()),
    )


def _run_trials(
    search: Search, study: Study, inputs: Inputs, layout: Layout, console: PlainConsole
) -> None:
    """Runs the trials that are missing.

    Raises:
        MasteryError: the given configuration cannot be fitted, so others would fail too.
    """
    deadline = None if search.seconds is None else time.monotonic() + search.seconds
    trials = study.trials
    if trials:
        console.print(f"{len(trials)} trials of this study are done; going on.")
    with Fits(inputs, layout.tuning) as fits:
        while len(trials) < search.trials:
            if trials and deadline is not None and time.monotonic() > deadline:
                console.print(f"Stopped after {search.seconds:g} s, with {len(trials)} trials.")
                return
            number = len(trials) + 1
            trial = study.start_next() if trials else study.start_given()
            _run_trial(search, trial, fits, _progress(console, number, search.trials))
            trials = study.trials
            console.print(describe_trial(trials[-1], search.trials, trials), soft_wrap=True)
            if trials[0].state != "complete":
                raise FitError(f"the given configuration cannot be fitted: {trials[0].reason}")


def _run_trial(search: Search, trial: RunningTrial, fits: Fits, progress: Progress) -> None:
    """Fits a trial, unless its values were tried before."""
    if trial.same is not None:
        trial.end_like_same()
        return
    try:
        config = search.load(settings_of(trial.values))
    except ConfigError as error:  # each value fits, all together do not
        trial.end(FitEnd("failed", reason=str(error)))
        return

    def after_epoch(epoch: int, eval_loss: float) -> bool:
        progress(epoch, eval_loss)
        return trial.after_epoch(epoch, eval_loss)

    try:
        trial.end(fits.fit(config, after_epoch))
    except (KeyboardInterrupt, FitError):
        trial.interrupt()
        raise


Progress = Callable[[int, float], None]  # gets an epoch and its eval loss


def _progress(console: PlainConsole, number: int, most: int) -> Progress:
    """Returns what shows the epochs of a trial: a line that is overwritten, on a terminal only."""

    def show(epoch: int, eval_loss: float) -> None:
        if console.is_terminal:
            text = f"Trial {number}/{most}  epoch {epoch}  eval loss {eval_loss:.4g}"
            console.print(text, end="\r", soft_wrap=True)

    return show


def _conclude(
    search: Search, config: Config, study: Study, space: Space, inputs: Inputs, layout: Layout
) -> Tuning:
    """Writes what was found."""
    trials = study.trials
    complete = [trial for trial in trials if trial.state == "complete"]
    best = min(complete, key=_loss_of)
    result = Tuning(
        name=config.name,
        study=study.name,
        config=config.fingerprint,
        code=code_fingerprint(RUN_FN),
        data=inputs.data,
        version=version("mastery"),
        space=space.as_json(),
        trials=trials,
        best=best.number,
        importance=study.importance(),
    )
    write_best(search.config, search.overrides, best.values, layout.tuning)
    write_page(result, layout.tuning)
    result.write(layout.tuning)
    return result


def _loss_of(trial: Trial) -> float:
    return float("inf") if trial.eval_loss is None else trial.eval_loss
