"""The process that tells servers of runs: `python -m pipeline.tracking.teller`, an order on stdin.

It prints one line of JSON for each thing and server. Whatever libraries print goes to standard
error, whose last line says why it ended early.
"""

from __future__ import annotations

import fcntl
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from components.command.program import explain_with_log, run_program, start_process
from components.config import Config
from components.contracts.run_record import RunRecord
from components.contracts.tracking_record import Told
from components.errors import MasteryError
from components.files.atomic import open_regular
from components.sending import UndeliveredError
from pipeline.layout import Layout
from pipeline.tracking import lineage, mlflow_run
from pipeline.tracking.facts import RunFacts, gather_facts
from pipeline.tracking.tell import LABELS, Order, Outcome, read_told

if TYPE_CHECKING:
    from components.config.tracking import Tracking

LOCK = ".tracking.lock"  # below the pipeline's folder: one process at a time tells of its runs


class _AwayError(Exception):
    """A server cannot be reached, so it is not asked again in this process."""


def main(order: Order, out: TextIO) -> None:
    """Does what an order asks for, and prints how it went.

    Raises:
        MasteryError: the root cannot be used.
    """
    config = Config.model_validate_json(order.config)
    layout = Layout(order.root, config.name)
    with _alone(layout.root / config.name):
        teller = _Teller(config, layout, order.seconds, out)
        for run in order.runs:
            teller.tell_run(run)
        if order.labels is not None:
            teller.tell_labels(order.labels)


class _Teller:
    """Tells the servers of one configuration.

    Args:
        config: names the servers.
        layout: where runs are.
        seconds: the longest to wait for an answer.
        out: where outcomes are printed.
    """

    def __init__(self, config: Config, layout: Layout, seconds: float, out: TextIO) -> None:
        self._config = config
        self._layout = layout
        self._seconds = seconds
        self._out = out
        self._away: dict[str, str] = {}  # why servers cannot be reached

    def tell_run(self, run: str) -> None:
        """Tells each server of a run, unless it was told to the end before."""
        folder = self._layout.run(run)
        facts: RunFacts | None = None
        for target, address in addresses_of(self._config.tracking).items():
            record = read_told(folder)
            state = RunRecord.read(folder).state
            before = record.told.get(target)
            if before and (before.address, before.state) == (address, state):
                self._print(run, target, None)
                continue

            def attempt(target: str = target) -> str | None:
                nonlocal facts
                facts = facts or gather_facts(self._config, self._layout, run)
                return self._tell(target, facts)

            problem, number = self._try(target, attempt)
            if problem is None:
                told = Told(address=address, state=state, id=number)
                record.told = {**record.told, target: told}
                record.write(folder)
            self._print(run, target, problem)

    def tell_labels(self, labels: dict[str, int | None]) -> None:
        """Tells MLflow which versions have which labels."""
        config = self._config.tracking.mlflow
        assert config is not None  # no labels are told without it

        def attempt() -> str | None:
            client = mlflow_run.connect(config, seconds=self._seconds)
            problems = mlflow_run.tell_labels(client, self._config.name, labels)
            if problems:
                raise MasteryError("; ".join(problems))
            return None

        problem, _ = self._try("mlflow", attempt)
        self._print(LABELS, "mlflow", problem)

    def _tell(self, target: str, facts: RunFacts) -> str | None:
        tracking = self._config.tracking
        if target == "mlflow" and tracking.mlflow:
            client = mlflow_run.connect(tracking.mlflow, seconds=self._seconds)
            return mlflow_run.tell_run(client, tracking.mlflow, facts)
        if target == "openlineage" and tracking.openlineage:
            events = lineage.events_of(tracking.openlineage, facts)
            lineage.send_events(tracking.openlineage, events, seconds=self._seconds)
        return None

    def _try(self, target: str, attempt: Callable[[], str | None]) -> tuple[str | None, str | None]:
        """Returns why an attempt failed, or what it returned; a server that is away stays away."""
        if target in self._away:
            return self._away[target], None
        try:
            return None, attempt()
        except UndeliveredError as error:
            problem = str(error)
            if error.busy:
                self._away[target] = problem
        except MasteryError as error:
            problem = str(error).rstrip(".")
        except Exception as error:
            problem = _explain(error)
            if _is_away(error):
                self._away[target] = problem
        return problem, None

    def _print(self, run: str, target: str, problem: str | None) -> None:
        outcome = Outcome.model_validate({"run": run, "target": target, "problem": problem})
        print(outcome.model_dump_json(), file=self._out, flush=True)


def addresses_of(tracking: Tracking) -> dict[str, str]:
    """Returns the addresses of the servers that are configured, by their names.

    An address in a variable is named by the variable, since it is written into files.
    """
    mlflow, openlineage = tracking.mlflow, tracking.openlineage
    found = {}
    if mlflow:
        found["mlflow"] = mlflow.uri or f"${mlflow.uri_env}"
    if openlineage:
        found["openlineage"] = openlineage.url or f"${openlineage.url_env}"
    return found


def _is_away(error: Exception) -> bool:
    """Returns whether an error of MLflow's client is one of the connection, not an answer."""
    if type(error).__name__ != "MlflowException":
        return False
    return re.search(r"API request to .* failed with (exception|timeout)", str(error)) is not None


def _explain(error: Exception) -> str:
    """Returns an error in one line, without what may hold an address with a password."""
    if _is_away(error):
        return "the server could not be reached"
    if type(error).__module__.startswith("mlflow"):
        code = getattr(error, "error_code", type(error).__name__)
        return f"the server refused it ({code}: {str(error).splitlines()[0][:300]})"
    return explain_with_log(error).rstrip(".")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from telling of the same runs, which would be told twice."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_regular(folder / LOCK) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run() -> None:
    order = Order.model_validate_json(sys.stdin.read())
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        main(order, out)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    start_process("mastery")
    sys.exit(run_program("mastery", _run))
