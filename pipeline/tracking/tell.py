"""Tells the servers of a configuration how runs went, in a process of its own and bounded time.

A library that hangs, a server that answers byte by byte: whatever happens there, the process is
ended when its time is over, and the run or the promotion has long been made. What was told is
written beside the run's record, so the rest can be told later.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from components.command.escape import in_one_line
from components.command.program import explain_with_log
from components.config.tracking import Target
from components.contracts.contract import ContractError
from components.contracts.tracking_record import TrackingRecord
from pipeline.run.record import read_records

if TYPE_CHECKING:
    from components.config import Config
    from components.contracts.run_record import RunRecord

TELLER = (sys.executable, "-m", "pipeline.tracking.teller")
LATER = "`mastery tracking sync` tells it later"
LABELS = "labels"  # stands for the run where labels are told
_START_UP = 20.0  # seconds that importing libraries may take, beside those for the servers


class Order(BaseModel):
    """What the process is to do.

    Attributes:
        config: the configuration, as JSON.
        root: the folder that keeps everything.
        runs: ids of the runs to tell of.
        labels: numbers of versions by label; None if they are not to be told.
        seconds: the longest to wait for an answer of a server.
    """

    config: str
    root: Path
    runs: list[str]
    labels: dict[str, int | None] | None = None
    seconds: float


class Outcome(BaseModel):
    """How one thing was told to one server.

    Attributes:
        run: the run, or `labels`.
        target: `mlflow` or `openlineage`.
        problem: why it was not told, in one line; None if it was.
    """

    run: str
    target: Target
    problem: str | None = None


def track_run(config: Config, root: Path, record: RunRecord) -> None:
    """Tells servers how a run ended; what cannot be told is said in one line on standard error.

    Args:
        config: what was run.
        root: the folder that keeps everything.
        record: of the run.
    """
    if config.tracking.targets and is_told_of(record):
        with _harmless():
            _report(tell(config, root, [record.run]))


def track_labels(config: Config, root: Path, labels: Mapping[str, int | None]) -> None:
    """Gives the registered model the aliases that versions have as labels, or says why not.

    Args:
        config: of the pipeline.
        root: the folder that keeps everything.
        labels: numbers of versions by label; None for a label that no version has.
    """
    mlflow = config.tracking.mlflow
    if mlflow is not None and mlflow.register_:
        with _harmless():
            _report(tell(config, root, [], labels=labels))


@contextmanager
def _harmless() -> Iterator[None]:
    """Says what goes wrong inside the block: no error there may fail a run or a promotion."""
    try:
        yield
    except Exception as error:
        reason = explain_with_log(error).rstrip(".")
        print(f"mastery: tracking: {reason}; {LATER}.", file=sys.stderr)


def _report(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.problem:
            text = f"mastery: tracking.{outcome.target}: {outcome.problem}; {LATER}."
            print(text, file=sys.stderr)


def is_told_of(record: RunRecord) -> bool:
    """Returns whether servers are told of a run: it has ended, and did not only look for data."""
    return record.state not in ("running", "no new data")


def tell(
    config: Config,
    root: Path,
    runs: Sequence[str],
    *,
    labels: Mapping[str, int | None] | None = None,
) -> list[Outcome]:
    """Tells servers of runs and labels, on average for `tracking.timeout_seconds` each at most.

    Args:
        config: names the servers.
        root: the folder that keeps everything.
        runs: ids of runs that have ended.
        labels: numbers of versions by label; None if they are not to be told.

    Returns:
        How each was told to each server; it never raises because of a server.
    """
    expected = [
        Outcome(run=run, target=target) for run in runs for target in config.tracking.targets
    ]
    if labels is not None:
        expected.append(Outcome(run=LABELS, target="mlflow"))

    seconds = config.tracking.timeout_seconds
    order = Order(
        config=config.model_dump_json(by_alias=True),
        root=root.resolve(),
        runs=[*runs],
        labels=None if labels is None else {**labels},
        seconds=seconds,
    )
    printed, ended = _run_teller(config, order, seconds * (len(runs) + (labels is not None)))
    found = {(item.run, item.target): item for item in _outcomes(printed)}
    for item in expected:
        if (item.run, item.target) not in found:
            found[item.run, item.target] = item.model_copy(update={"problem": ended})
    return [found[item.run, item.target] for item in expected]


def _run_teller(config: Config, order: Order, seconds: float) -> tuple[str, str]:
    """Runs the process; returns what it printed, and in words why it printed no more."""
    environment = {**os.environ, **_store_of(config)}
    # It waits for nothing: what it prints is small, and both ends are read until it has ended.
    with subprocess.Popen(
        TELLER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            printed, errors = process.communicate(order.model_dump_json(), seconds + _START_UP)
            last = next(filter(None, reversed(errors.splitlines())), "it said nothing")
            return printed, in_one_line(last)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
            return printed, f"no answer within {seconds:.0f} s"
        except BaseException:
            process.kill()
            raise


def _store_of(config: Config) -> dict[str, str]:
    """Returns the variables that say where ML Metadata is, which no configuration carries."""
    from components.errors import ConfigError

    with suppress(ConfigError):  # the process then says what is wrong
        return config.metadata.with_environment(os.environ).as_environment()
    return {}


def _outcomes(printed: str) -> list[Outcome]:
    """Returns what the process has printed; a line that was cut off is left out."""
    found = []
    for line in printed.splitlines():
        with suppress(ValueError):
            found.append(Outcome.model_validate(json.loads(line)))
    return found


def untold_runs(config: Config, root: Path) -> list[str]:
    """Returns the runs of a pipeline below a root that a server was not told of, oldest first.

    Raises:
        MasteryError: a record cannot be read.
    """
    from pipeline.layout import Layout
    from pipeline.tracking.teller import addresses_of

    layout = Layout(root.resolve(), config.name)
    addresses = addresses_of(config.tracking)
    untold = []
    for record in read_records(layout.root, config.name):
        if not is_told_of(record):
            continue
        told = read_told(layout.run(record.run)).told
        for target, address in addresses.items():
            item = told.get(target)
            if item is None or (item.address, item.state) != (address, record.state):
                untold.append(record.run)
                break
    return untold


def read_told(folder: Path) -> TrackingRecord:
    """Returns which servers were told of the run in a folder; none where it is not known."""
    with suppress(ContractError):
        return TrackingRecord.read(folder)
    return TrackingRecord()
