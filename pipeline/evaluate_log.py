"""Scores a pushed model on another log, for `mastery evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.command.program import quiet_imports
from components.model_version.pushed_version import config_for_log

if TYPE_CHECKING:
    from components.contracts.evaluation import Evaluation


def evaluate_log(model: Path, events: list[str], outcomes: list[str]) -> Evaluation:
    """Returns the metrics of a model on all outcomes of a log, computed as the gates' are.

    Args:
        model: a pushed version's folder.
        events: files, folders or patterns of another log.
        outcomes: the same for its outcomes, with labels.

    Raises:
        MasteryError: the folder holds no model of ours.
        LogError: the log cannot be used.
    """
    config = config_for_log(model, events, outcomes, name=f"--model {model}")

    with quiet_imports():
        from components.evaluator.evaluate import evaluate_model
        from components.example_gen.examples import examples_from_log

    return evaluate_model(model, examples_from_log(config), config)
