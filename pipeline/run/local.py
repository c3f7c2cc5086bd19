"""Runs a pipeline on this machine: starts the worker, shows its progress, and stops it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.run_plan import RunPlan
from components.contracts.run_record import (
    RUN_FOLDER,
    NodeRecord,
    NodeRecords,
    RunRecord,
    RunResult,
)
from components.errors import MasteryError
from components.node.flink.check import check_flink
from components.node.flink.job_server import running_job_server
from components.node.progress import latest_progress
from pipeline.layout import Layout, check_root
from pipeline.run.display import RunDisplay
from pipeline.run.ending import end_run, explain_death, last_line
from pipeline.run.prepare import (
    cancel_jobs,
    cancel_unfinished,
    check_range,
    check_signing_key,
    find_log,
    find_node,
    lock_root,
    snapshot_schema,
)
from pipeline.run.record import new_run_id, read_records

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.config.root import Config
    from components.config.runtime import Metadata
    from components.contracts.run_record import Retraining

WORKER = (sys.executable, "-m", "pipeline.run.worker")
_GRACE = 0.5  # seconds between asking the worker to end and killing it
_GRACE_OF_NODES = 10.0  # seconds to wait for the nodes' processes, which end with the worker
_REFRESH = 0.1  # seconds between two checks of the worker
_START_UP = "start-up.txt"  # what the worker prints before it has a log


def run_pipeline(
    config: Config,
    root: Path,
    *,
    use_cache: bool = True,
    from_node: str | None = None,
    to_node: str | None = None,
    only_new_data: bool = False,
    retraining: Retraining | None = None,
    console: PlainConsole,
) -> RunRecord:
    """Runs the pipeline of `config` below `root` and returns how it ended.

    A run that is interrupted leaves no half-written output behind. The same call later takes the
    finished nodes from the cache and runs the others.

    Args:
        config: what to run.
        root: the folder that keeps everything.
        use_cache: whether unchanged nodes are taken from earlier runs.
        from_node: execute this node and those after it anew.
        to_node: stop after this node.
        only_new_data: stop after ExampleGen if the run would only repeat the latest one: the same
            configuration, code and data, to its end.
        retraining: why the model is trained again, for the run's record and ML Metadata.
        console: where progress is shown.

    Raises:
        MasteryError: an option names no node, options contradict each other, a file of the log is
            missing, another run is using `root`, it cannot be written, or the metadata store is not
            configured, or the Flink cluster that is configured cannot be used.
    """
    if only_new_data and (from_node or not use_cache):
        raise MasteryError(
            "--only-new-data cannot be combined with --from or --no-cache: these execute nodes "
            "even without new data."
        )
    first = find_node(config, "--from", from_node)
    last = find_node(config, "--to", to_node)
    check_range(config, first, last)
    root = root.resolve()
    check_root(root)
    find_log(config)
    store = config.metadata.with_environment(os.environ)
    check_signing_key(config)
    check_flink(config.beam)

    layout = Layout(root, config.name)
    with lock_root(root):
        _recover(layout, store, config)
        snapshot_schema(config, layout)
        plan = RunPlan(
            run=new_run_id(), root=root, config=config, use_cache=use_cache, from_node=first,
            to_node=last, only_new_data=only_new_data, retraining=retraining,
        )  # fmt: skip
        return _run(plan, layout, store, console)


def _run(plan: RunPlan, layout: Layout, store: Metadata, console: PlainConsole) -> RunRecord:
    """Runs a plan in a worker, and keeps its record from the start to the end."""
    config, folder = plan.config, layout.run(plan.run)
    plan.write(folder)
    record = RunRecord(
        run=plan.run, name=layout.name, started=datetime.now(UTC), pid=os.getpid(),
        retraining=plan.retraining,
    )  # fmt: skip
    record.write(folder)

    started = time.monotonic()
    try:
        with _scratch(folder) as scratch, running_job_server(config.beam, folder) as beam:
            environment = {
                **store.as_environment(),
                **config.push.as_environment(),
                **config.training.as_environment(),
                **beam.as_environment(),
            }
            code = _run_worker(folder, environment, scratch, console)
        if not (folder / RunResult.FILE).exists():
            _remove_pieces(layout, store, config, plan.run)
        record = end_run(record, _read_nodes(folder), _read_result(folder, code))
    except KeyboardInterrupt:
        record = _interrupted(record, folder, layout, store, config, patience=0)
    finally:
        record.pid = None
        if record.state != "running":  # else the next run marks this one as interrupted
            record.seconds = time.monotonic() - started
        record.write(folder)
    return record


@contextmanager
def _scratch(run: Path) -> Iterator[Path]:
    """Yields a folder for a run's temporary files; Beam and Transform leave theirs behind."""
    folder = _scratch_path(run)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scratch_path(run: Path) -> Path:
    """Returns where a run keeps temporary files; the next run removes those of a dead one."""
    return Path(tempfile.gettempdir()) / f"mastery-{run.name}"


def _run_worker(
    folder: Path, variables: Mapping[str, str], scratch: Path, console: PlainConsole
) -> int:
    """Runs the worker to its end, shows its progress, and returns its exit code.

    Args:
        folder: the run's.
        variables: what no file of the run says, for the worker's environment: the metadata store,
            and where the key to sign with is.
        scratch: a folder for the worker's temporary files.
        console: where progress is shown.
    """
    environment = {
        **os.environ,
        **variables,
        RUN_FOLDER: str(folder),
        "PYTHONHASHSEED": "0",
        "TMPDIR": str(scratch),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"),
    }

    # Each process of a node inherits one end, so the other is at its end when all have ended.
    lifeline, of_nodes = os.pipe()
    with (
        os.fdopen(lifeline, "rb", buffering=0) as nodes_ended,
        (folder / _START_UP).open("wb") as start_up,
        terminate_as_interrupt(),
        # A session of its own: Ctrl-C reaches only us, and we can stop the whole group.
        subprocess.Popen(
            [*WORKER, str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=start_up,
            pass_fds=[of_nodes],
            env=environment,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        ) as worker,
    ):
        try:
            os.close(of_nodes)
            with RunDisplay(console) as display:
                _follow(worker, folder, display)
        finally:
            _stop(worker)
            select.select([nodes_ended], [], [], _GRACE_OF_NODES)

    return worker.returncode


def _follow(worker: subprocess.Popen[bytes], folder: Path, display: RunDisplay) -> None:
    """Shows the states of the nodes until the worker has ended."""
    while worker.poll() is None:
        _show(folder, display)
        time.sleep(_REFRESH)
    _show(folder, display)


def _show(folder: Path, display: RunDisplay) -> None:
    nodes = _read_nodes(folder)
    running = (node.id for node in nodes if node.state == "running")
    display.update(nodes, {node: latest_progress(folder, node) for node in running})


def _read_nodes(folder: Path) -> list[NodeRecord]:
    written = (folder / NodeRecords.FILE).exists()
    return NodeRecords.read(folder).nodes if written else []


def _read_result(folder: Path, code: int) -> RunResult:
    """Returns what the worker has left, or why it left nothing."""
    if (folder / RunResult.FILE).exists():
        return RunResult.read(folder)

    log = _last_log(folder)
    return RunResult(error=explain_death(code, last_line(log)), log=str(log))


def _last_log(folder: Path) -> Path:
    """Returns the file that the worker wrote last: the log of a node, or its start-up messages."""
    start_up = folder / _START_UP
    logs = [file for file in (start_up, *folder.glob("logs/*.log")) if file.stat().st_size]
    return max(logs, key=lambda file: file.stat().st_mtime_ns, default=start_up)


def _stop(worker: subprocess.Popen[bytes]) -> None:
    """Ends the worker and the processes that it has started; does nothing if it has ended."""
    if worker.poll() is not None:
        return
    os.killpg(worker.pid, signal.SIGTERM)
    try:
        worker.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Lets SIGTERM end a run as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupted(
    record: RunRecord,
    folder: Path,
    layout: Layout,
    store: Metadata,
    config: Config,
    *,
    patience: float | None = None,
) -> RunRecord:
    """Returns the record of an interrupted run, after removing what it left half written."""
    _remove_pieces(layout, store, config, record.run, patience=patience)
    nodes = _read_nodes(folder)
    for node in nodes:
        if node.state == "running":
            node.state = "interrupted"
    return record.model_copy(update={"state": "interrupted", "nodes": nodes})


def _remove_pieces(
    layout: Layout, store: Metadata, config: Config, run: str, *, patience: float | None = None
) -> None:
    """Removes what nodes of a run left half written when their processes were ended."""
    cancel_jobs(config.beam, run)
    if store.store == "mysql" or layout.metadata.exists():
        from pipeline.store.connection import connect_to_store, connection_config

        connection = connection_config(store, layout)
        cancel_unfinished(connect_to_store(connection, patience=patience), layout, run)


def _recover(layout: Layout, store: Metadata, config: Config) -> None:
    """Tidies up after runs whose processes died without doing so themselves."""
    for record in read_records(layout.root, layout.name):
        if record.state == "interrupted" and record.seconds is None:
            folder = layout.run(record.run)
            shutil.rmtree(_scratch_path(folder), ignore_errors=True)
            record = _interrupted(record, folder, layout, store, config)
            record.seconds = 0.0
            record.write(folder)
