"""From a configuration to that of its small training: an ordinary configuration, run like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.config import Config, Gate
from components.config.metrics import METRICS
from components.errors import MasteryError


def small_config(config: Config, *, baseline: Path | None = None, push: bool = False) -> Config:
    """Returns the configuration that `mastery ci` runs.

    Fewer learners and epochs, no warm start (which depends on what was trained before), the gates of `ci` and one more:
    the main metric may not be worse than the baseline's. The Evaluator judges that gate as any other. Metadata stay in
    the run's root: a configured server is for the models that are served.

    Args:
        config: what `mastery run` would run.
        baseline: a pushed version's folder to compare with, instead of the model blessed last in the run's root.
        push: whether a model that passes goes to `push.directory`; if not, it goes below the run's root.

    Raises:
        MasteryError: `baseline` holds no model.
    """
    values: dict[str, Any] = config.model_dump(mode="json", by_alias=True)
    ci, data, training = config.ci, config.data, config.training
    values["data"]["sample_learners"] = min(ci.learners, data.sample_learners or ci.learners)
    values["training"] |= {"epochs": min(ci.epochs, training.epochs), "warm_start": False}
    gates = [*(ci.gates or config.gates), no_worse_gate(config)]
    values["gates"] = [gate.model_dump(mode="json", by_alias=True) for gate in gates]
    if baseline is not None:
        values["evaluation"]["baseline"] = str(_check_version(baseline))
    if not push:
        values["push"]["directory"] = None
    del values["ci"]  # and `metadata`, which no dump holds, is at its default
    return Config.model_validate(values)


def no_worse_gate(config: Config) -> Gate:
    """Returns the gate on the change of the main metric: `ci.metric`, or that of the first gate, over all examples."""
    ci = config.ci
    first = (ci.gates or config.gates)[0]
    metric, class_ = (ci.metric, None) if ci.metric else (first.metric, first.class_)
    if METRICS[metric].more_is_better:
        bound = {"min_change": 0.0 - ci.tolerance}
    else:
        bound = {"max_change": ci.tolerance}
    return Gate.model_validate({"metric": metric, "class": class_, **bound})


def _check_version(folder: Path) -> Path:
    """Looks before anything is trained; the Evaluator does so again."""
    if not (folder / "saved_model.pb").is_file():
        raise MasteryError(
            f"--baseline {folder}: expected a pushed version such as runs/NAME/serving/1234567890, "
            "found no saved_model.pb in it."
        )
    return folder.resolve()
