"""What `mastery evaluate` does: scores a pushed model on another log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.config import Config
from components.config.span import NEWEST
from components.errors import MasteryError
from pipeline.quiet import quiet_imports


def evaluate_log(model: Path, events: list[str], outcomes: list[str]) -> dict[str, Any]:
    """Returns the metrics of a model on all outcomes of a log, computed as the gates' are.

    The version itself says how its log is read: its `manifest.json` holds the configuration it was made with.

    Args:
        model: a pushed version's folder.
        events: files, folders or patterns of another log.
        outcomes: the same for its outcomes, with labels.

    Raises:
        MasteryError: the folder holds no model of ours.
        LogError: the log cannot be used.
    """
    config = _config_of(model)
    given = {"events": _absolute(events), "outcomes": _absolute(outcomes), "span": NEWEST, "sample_learners": None}
    data = config.data.model_copy(update=given)

    with quiet_imports():
        from components.evaluator.evaluate import evaluate_model
        from components.example_gen.log_examples import examples_from_log

    config = config.model_copy(update={"data": data})
    return evaluate_model(model, examples_from_log(config), config)


def _config_of(model: Path) -> Config:
    file = model / "manifest.json"
    try:
        return Config.model_validate(json.loads(file.read_text(encoding="utf-8"))["config"])
    except (OSError, KeyError, ValueError) as error:
        raise MasteryError(
            f"--model {model}: expected a pushed version such as runs/NAME/serving/1234567890, "
            f"found no readable {file.name} in it ({type(error).__name__})."
        ) from None


def _absolute(paths: list[str]) -> list[str]:
    return [path if "://" in path else str(Path(path).resolve()) for path in paths]
