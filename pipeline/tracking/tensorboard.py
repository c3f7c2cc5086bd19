"""TensorBoard over all runs of a root: curves by run, and a table of hyperparameters.

Each run is a folder of links to the log folders of its Trainer, beside a small file with its
hyperparameters and final metrics. The messages of the HParams plugin are written here, because its
own functions import TensorFlow.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from components.contracts.contract import ContractError
from components.contracts.evaluation import Evaluation
from components.contracts.names import LOGS
from components.contracts.run_plan import RunPlan
from components.errors import MasteryError
from components.node.node_id import Node
from components.node.this_machine import IS_LINUX, be_killed_with_parent
from pipeline.layout import Layout
from pipeline.run.local import terminate_as_interrupt
from pipeline.run.record import read_records
from pipeline.store.lookups import open_history
from pipeline.tracking.mlflow_run import flatten

if TYPE_CHECKING:
    from components.config import Config
    from components.contracts.run_record import RunRecord
    from pipeline.store.lookups import RunHistory

_SECTIONS = ("training", "model")  # what is varied between runs
_LOOK = 5.0  # seconds between two looks for new runs
_START = 120.0  # seconds within which TensorBoard has to listen
_LISTENS = re.compile(r"TensorBoard \S+ at (http://\S+)")


def serve_runs(config: Config, root: Path, *, host: str, port: int) -> None:
    """Shows the runs of a pipeline in TensorBoard until Ctrl-C, also those that end meanwhile.

    Args:
        config: of the pipeline.
        root: the folder that keeps everything.
        host: the address to listen on.
        port: the port; 0 for any that is free.

    Raises:
        MasteryError: no run has curves, the store cannot be read, or TensorBoard does not start.
    """
    layout = Layout(root.resolve(), config.name)
    with TemporaryDirectory(prefix="mastery-tensorboard-") as folder, terminate_as_interrupt():
        board = Path(folder, "runs")
        board.mkdir()
        count = link_runs(config, layout, board)
        if not count:
            raise MasteryError(
                f"expected a run of {config.name} with curves below {root}, found none; "
                "`mastery run` makes one."
            )
        with suppress(KeyboardInterrupt), _running(board, host, port) as (process, address):
            runs = f"{count} run{'s' if count > 1 else ''}"
            print(f"{runs} at {address} (Ctrl-C ends it)", flush=True)
            while process.poll() is None:
                time.sleep(_LOOK)
                link_runs(config, layout, board)


def link_runs(config: Config, layout: Layout, board: Path) -> int:
    """Adds the runs that are not there yet to a folder for TensorBoard.

    Args:
        config: of the pipeline.
        layout: where runs are.
        board: a folder with a folder for each run.

    Returns:
        How many runs it has.

    Raises:
        MasteryError: a record or the metadata store cannot be read.
    """
    records = [
        record
        for record in read_records(layout.root, layout.name)
        if record.state != "running" and not (board / _name_of(record)).exists()
    ]
    if records:
        with open_history(config.metadata, layout, patience=0) as history:
            for record in records:
                _add_run(config, layout, history, record, board)
    return sum(1 for _ in board.iterdir())


def _add_run(
    config: Config, layout: Layout, history: RunHistory, record: RunRecord, board: Path
) -> None:
    trainer = history.latest_executions(record.run).get(Node.TRAINER)
    outputs = history.result_of(trainer).outputs.get("model_run") if trainer else None
    logs = Path(outputs[0].uri, LOGS) if outputs else None
    fits = sorted(logs.iterdir()) if logs and logs.is_dir() else []
    if not fits:
        return

    folder = board / _name_of(record)
    folder.mkdir()
    for fit in fits:
        # A single fit needs no level of its own: its folder is named by the moment only.
        place = folder if len(fits) == 1 else folder / fit.name
        place.mkdir(exist_ok=True)
        for part in fit.iterdir():
            (place / part.name).symlink_to(part)

    with suppress(ContractError):  # runs of containers have no plan
        config = RunPlan.read(layout.run(record.run)).config
    metrics: dict[str, float] = {}
    with suppress(ContractError):
        if record.metrics:
            measured = Evaluation.read_file(Path(record.metrics)).overall.metrics
            metrics = {name: value for name, value in measured.items() if value is not None}
    write_hparams(folder, record, hyperparameters(config), metrics)


def _name_of(record: RunRecord) -> str:
    """Returns how people see a run, in a name of a folder."""
    return f"{record.run} {record.state}"


def hyperparameters(config: Config) -> dict[str, bool | float | str]:
    """Returns what may be varied between runs, a value for each key: `training.epochs`, 30.0."""
    found: dict[str, bool | float | str] = {}
    for key, value in flatten({name: config.recipe[name] for name in _SECTIONS}):
        if isinstance(value, bool | str):
            found[key] = value
        elif isinstance(value, int | float):
            found[key] = float(value)
        else:
            found[key] = json.dumps(value, ensure_ascii=False)
    return found


def write_hparams(
    folder: Path,
    record: RunRecord,
    values: Mapping[str, bool | float | str],
    metrics: Mapping[str, float],
) -> None:
    """Writes a file that TensorBoard's HParams plugin reads: one row of its table.

    Args:
        folder: of the run, for TensorBoard.
        record: of the run.
        values: of the hyperparameters, by key.
        metrics: final ones by name; they become scalars `test/...`.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo, SessionStartInfo
    from tensorboard.summary.writer.record_writer import RecordWriter

    began = record.started.timestamp()
    ended = began + (record.seconds or 0.0)
    start = SessionStartInfo(group_name=record.run, start_time_secs=began)
    for key, value in values.items():
        kind = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(start.hparams[key], kind, value)
    failed = record.state in ("failed", "interrupted")
    status = Status.STATUS_FAILURE if failed else Status.STATUS_SUCCESS
    end = SessionEndInfo(status=status, end_time_secs=ended)

    events = [
        Event(wall_time=began, file_version="brain.Event:2"),
        _session_event(began, "session_start_info", start),
        *(_scalar_event(ended, f"test/{name}", value) for name, value in metrics.items()),
        _session_event(ended, "session_end_info", end),
    ]
    with (folder / f"events.out.tfevents.{int(ended)}.mastery").open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


def _session_event(time_: float, kind: str, content: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR, create_summary_metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    event = Event(wall_time=time_)
    data = HParamsPluginData(**{kind: content})
    event.summary.value.add(
        tag=f"_hparams_/{kind}", metadata=create_summary_metadata(data), tensor=NULL_TENSOR
    )
    return event


def _scalar_event(time_: float, name: str, value: float) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    event = Event(wall_time=time_)
    event.summary.value.add(tag=name, simple_value=value)
    return event


@contextmanager
def _running(board: Path, host: str, port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Runs TensorBoard until the block ends; yields it and its address.

    Raises:
        MasteryError: it does not start, as when the port is taken.
    """
    log = board.parent / "log.txt"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", board, "--host", host,
             "--port", str(port), "--reload_interval", str(int(_LOOK))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C reaches only us
            preexec_fn=be_killed_with_parent if IS_LINUX else None,
        ) as process,
    ):  # fmt: skip
        try:
            yield process, _wait_for_address(process, log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it keeps nothing


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace")
        found = _LISTENS.search(text)
        if found:
            return found[1]
        if process.poll() is not None:
            last = next(filter(None, reversed(text.splitlines())), "it printed nothing")
            raise MasteryError(f"TensorBoard did not start: {last.strip()}")
        time.sleep(0.1)
    raise MasteryError(f"TensorBoard did not listen within {_START:.0f} s.")
