"""Has trials fitted in another process, which loads TensorFlow once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal

from components.contracts.names import SERVED, SPLITS
from components.errors import MasteryError
from components.node.node_id import Node
from components.node.settings import TrainerSettings
from pipeline.run.ending import explain_death, last_line
from pipeline.tuning.fitter import GO, STOP

if TYPE_CHECKING:
    from components.config import Config
    from components.contracts.provenance import DataProvenance
    from pipeline.store.lookups import NodeResult

LOG = "fits.log"  # what TensorFlow printed
_FITTER = (sys.executable, "-m", "pipeline.tuning.fitter")
_GRACE = 5.0  # seconds between asking the process to end and killing it

AfterEpoch = Callable[[int, float], bool]  # gets epoch and eval loss; whether to go on


class FitError(MasteryError):
    """Trials cannot be fitted at all."""


@dataclass(frozen=True)
class Inputs:
    """What every trial is fitted to: the train split, and the eval split for its loss.

    Attributes:
        examples: the folder of transformed examples.
        transform_graph: the folder of Transform's graph.
        base_model: the model to start from, for `training.warm_start`.
        data: what they were made from.
    """

    examples: str
    transform_graph: str
    base_model: str | None
    data: DataProvenance

    @classmethod
    def of(cls, results: dict[Node, NodeResult], data: DataProvenance) -> Inputs:
        """Returns what the nodes before the Trainer have made."""
        transform = results[Node.TRANSFORM].outputs
        resolver = results.get(Node.WARM_START_RESOLVER)
        models = resolver.outputs.get("model", []) if resolver else []
        return cls(
            examples=transform["transformed_examples"][0].uri,
            transform_graph=transform["transform_graph"][0].uri,
            base_model=str(Path(models[0].uri, SERVED)) if models else None,
            data=data,
        )

    def order(self, config: Config) -> dict[str, Any]:
        """Returns what the process is told to fit; the test split is not in it."""
        train, evaluation, _ = SPLITS
        settings = TrainerSettings.of(config)
        quiet = settings.training.model_copy(update={"histograms": False})
        return {
            "settings": settings.model_copy(update={"training": quiet}).to_property(),
            "train_files": [f"{self.examples}/Split-{train}/*"],
            "eval_files": [f"{self.examples}/Split-{evaluation}/*"],
            "transform_graph": self.transform_graph,
            "base_model": self.base_model,
        }


@dataclass
class FitEnd:
    """How the fit of a trial ended.

    Attributes:
        state: complete; pruned, when it was told to stop; or failed.
        losses: the eval loss of each epoch.
        seconds: how long it took.
        reason: why it failed.
    """

    state: Literal["complete", "pruned", "failed"]
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    reason: str | None = None


class Fits:
    """The process that fits; it is started when it is needed, and again after it has died.

    Args:
        inputs: what every trial is fitted to.
        folder: gets `fits.log`.
    """

    def __init__(self, inputs: Inputs, folder: Path) -> None:
        self._inputs = inputs
        self._log = folder / LOG
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Fits:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        if kind is None:
            _close(self._process.stdin)  # it ends when there are no more orders
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        self._kill()

    def fit(self, config: Config, after_epoch: AfterEpoch) -> FitEnd:
        """Fits a configuration.

        Args:
            config: the trial's.
            after_epoch: is asked after each epoch whether to go on.

        Raises:
            FitError: an error that is not about the values of this trial.
        """
        started = time.monotonic()
        losses: list[float] = []
        end = self._converse(config, after_epoch, losses)
        seconds = time.monotonic() - started
        if end["end"] == "broken":
            raise FitError(f"{end['reason']}\nLog: {self._log}")
        return FitEnd(end["end"], losses, seconds, end.get("reason"))

    def _converse(
        self, config: Config, after_epoch: AfterEpoch, losses: list[float]
    ) -> dict[str, Any]:
        process = self._started()
        self._tell(process, json.dumps(self._inputs.order(config)))
        while True:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                return {"end": "failed", "reason": self._died(process)}
            message: dict[str, Any] = json.loads(line)
            if "end" in message:
                return message
            losses.append(message["eval_loss"])
            self._tell(process, GO if after_epoch(message["epoch"], losses[-1]) else STOP)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            # A session of its own: Ctrl-C reaches only us.
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    _FITTER,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    env={
                        **os.environ,
                        "PYTHONHASHSEED": "0",
                        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"),
                    },
                    start_new_session=True,
                    cwd=Path(__file__).parents[2],
                )
        return self._process

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        if process.stdin is None:
            return
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died, which the next line that is read says

    def _died(self, process: subprocess.Popen[str]) -> str:
        """Returns why the process ended, and forgets it."""
        code = process.wait()
        self._forget(process)
        return explain_death(code, last_line(self._log), who="the fit")

    def _kill(self) -> None:
        """Ends the process, unless it has ended."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._forget(self._process)

    def _forget(self, process: subprocess.Popen[str]) -> None:
        """Closes the pipes of a process that has ended."""
        _close(process.stdin)
        _close(process.stdout)
        self._process = None


def _close(pipe: IO[str] | None) -> None:
    if pipe is not None:
        with suppress(BrokenPipeError):  # what is left in it has no reader any more
            pipe.close()
