"""The process that fits the trials: `python -m pipeline.tuning.fitter`, one trial after the other.

Orders come in on standard input, a line of JSON each. After every epoch it says its loss on
standard output, and waits for a line: go on, or stop. TensorFlow is loaded once for all trials.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from components.command.explain import explain
from components.errors import TrainingError
from components.node.this_machine import IS_LINUX, be_killed_with_parent

if TYPE_CHECKING:
    from components.contracts.training_history import TrainingHistory

GO, STOP = "go", "stop"  # what is answered after an epoch


class _StoppedError(Exception):
    """The trial is not worth going on."""


def main() -> int:
    """Fits what is ordered until standard input ends."""
    if IS_LINUX:
        be_killed_with_parent()
    talk = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    lines = iter(sys.stdin.readline, "")
    for line in lines:
        _say(talk, _answer(json.loads(line), lines, talk))
    return 0


def _answer(order: dict[str, Any], lines: Iterator[str], talk: IO[str]) -> dict[str, Any]:
    """Returns how a trial ended."""
    try:
        history = _fit(order, lines, talk)
    except _StoppedError:
        return {"end": "pruned"}
    except TrainingError as error:
        return {"end": "failed", "reason": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"end": "broken", "reason": explain(error)}
    return {"end": "complete", "best_epoch": history.best_epoch}


def _fit(order: dict[str, Any], lines: Iterator[str], talk: IO[str]) -> TrainingHistory:
    """Fits a trial; asks after each epoch whether to go on.

    Raises:
        _StoppedError: the answer was no.
        TrainingError: the fit diverged, or these examples cannot be fitted to.
    """
    import keras
    from tfx.components.trainer.fn_args_utils import FnArgs

    from components.node.settings import TrainerSettings
    from components.trainer.run import fit_only

    def after_epoch(epoch: int, logs: dict[str, float] | None) -> None:
        losses = {name: float(value) for name, value in (logs or {}).items()}
        _say(talk, {"epoch": epoch + 1, "eval_loss": losses["val_loss"]})
        if next(lines, STOP).strip() != GO:
            raise _StoppedError

    with tempfile.TemporaryDirectory(prefix="mastery-trial-") as folder:
        fn_args = FnArgs(
            train_files=order["train_files"],
            eval_files=order["eval_files"],
            transform_graph_path=order["transform_graph"],
            base_model=order["base_model"],
            model_run_dir=folder,
        )
        settings = TrainerSettings.from_property(order["settings"])
        # Last of all callbacks, so that an epoch's loss is known to be finite.
        return fit_only(fn_args, settings, keras.callbacks.LambdaCallback(on_epoch_end=after_epoch))


def _say(talk: IO[str], message: dict[str, Any]) -> None:
    talk.write(json.dumps(message) + "\n")
    talk.flush()


if __name__ == "__main__":
    sys.exit(main())
