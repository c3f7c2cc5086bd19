"""Runs a pipeline on this machine: starts the worker, shows its progress, stops it, says how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from components.command.console import PlainConsole
from components.config import Config, Metadata
from components.errors import MasteryError
from components.node.progress import PROGRESS_FILE
from pipeline.layout import Layout, check_root
from pipeline.run.display import RunDisplay
from pipeline.run.lock import lock_root
from pipeline.run.prepare import find_log, snapshot_schema
from pipeline.run.record import (
    NodeRecord,
    RunRecord,
    RunState,
    new_run_id,
    read_records,
    run_folder,
    write_record,
)
from pipeline.run.worker import Plan, Result

_GRACE = 0.5  # seconds between asking the worker to end and making it


def run_pipeline(
    config: Config,
    root: Path,
    *,
    use_cache: bool = True,
    from_node: str | None = None,
    to_node: str | None = None,
    only_new_data: bool = False,
    console: PlainConsole,
) -> RunRecord:
    """Runs the pipeline of `config` below `root` and returns how it ended.

    A run that is interrupted leaves no half-written output behind; the same call later takes what was
    finished from the cache and goes on from there. With `only_new_data` it ends after ExampleGen where it would only
    repeat the latest run: the same configuration, code and data, to its end.

    Raises:
        MasteryError: a file of the log is missing, another run is using `root`, it cannot be written, the metadata
            store is not configured, or `only_new_data` is asked for together with nodes to execute anew.
    """
    if only_new_data and (from_node or not use_cache):
        raise MasteryError(
            "--only-new-data does not go with --from or --no-cache, which want something done anyway."
        )
    root = root.resolve()
    check_root(root)
    find_log(config)
    store = config.metadata.with_environment(os.environ)
    layout = Layout(root, config.name)
    with lock_root(root):
        _recover(layout, store)
        snapshot_schema(config, layout)
        plan = Plan(
            run=new_run_id(), root=root, config=config, use_cache=use_cache, from_node=from_node, to_node=to_node,
            only_new_data=only_new_data,
        )  # fmt: skip
        folder = run_folder(layout, plan.run)
        folder.mkdir(parents=True)
        # The worker tells nobody how the run ends, and an address to tell may be a secret.
        content = plan.model_dump_json(by_alias=True, indent=1, exclude={"config": {"notify"}})
        (folder / "plan.json").write_text(content, encoding="utf-8")
        record = RunRecord(
            run=plan.run, name=config.name, started=datetime.now(UTC), pid=os.getpid()
        )
        write_record(folder, record)
        started = time.monotonic()
        try:
            # Beam and Transform leave their temporary folders behind.
            with tempfile.TemporaryDirectory(
                prefix="mastery-run-", ignore_cleanup_errors=True
            ) as scratch:
                code = _watch(folder, store, Path(scratch), console)
            record = _ended(record, folder, code)
        except KeyboardInterrupt:
            record = _interrupted(record, folder, layout, store, patience=0)
        finally:
            record.pid = None
            if (
                record.state != "running"
            ):  # else the store could not be told of the interrupt; the next run tries again
                record.seconds = time.monotonic() - started
            write_record(folder, record)
        return record


def _watch(folder: Path, store: Metadata, scratch: Path, console: PlainConsole) -> int:
    """Starts the worker, with `scratch` for what is temporary, shows what it does, and returns its exit code."""
    environment = {
        **os.environ,
        **store.as_environment(),
        PROGRESS_FILE: str(folder / "progress.txt"),
        "MASTERY_RUN_DIR": str(folder),
        "PYTHONHASHSEED": "0",
        "TMPDIR": str(scratch),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"),
    }
    # A session of its own: the terminal's Ctrl-C reaches us only, and we can stop the whole group.
    worker = subprocess.Popen(
        [sys.executable, "-m", "pipeline.run.worker", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=(folder / "start-up.txt").open("wb"),
        env=environment, start_new_session=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        with RunDisplay(console) as display, _terminate_as_interrupt():
            node, since = "", time.monotonic()
            while worker.poll() is None:
                nodes, progress = _read_state(folder)
                running = next((item.id for item in nodes if item.state == "running"), "")
                if running != node:
                    node, since = running, time.monotonic()
                display.update(nodes, progress, time.monotonic() - since)
                time.sleep(0.1)
            display.update(*_read_state(folder), 0.0)
    finally:
        _stop(worker)
    return worker.returncode


def _read_state(folder: Path) -> tuple[list[NodeRecord], str]:
    file, progress = folder / "nodes.json", folder / "progress.txt"
    nodes = (
        [NodeRecord.model_validate(item) for item in json.loads(file.read_text())]
        if file.exists()
        else []
    )
    lines = progress.read_text(encoding="utf-8").splitlines() if progress.exists() else []
    return nodes, lines[-1] if lines else ""


def _stop(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is not None:
        return
    os.killpg(worker.pid, signal.SIGTERM)
    try:
        worker.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Lets SIGTERM end a run as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ended(record: RunRecord, folder: Path, code: int) -> RunRecord:
    nodes, _ = _read_state(folder)
    file = folder / "result.json"
    if file.exists():
        result = Result.model_validate_json(file.read_text(encoding="utf-8"))
    else:
        result = Result(error=_how_it_died(folder, code), log=str(_last_log(folder)))
    where = f"\nLog: {result.log}" if result.log else ""
    return record.model_copy(
        update={
            "nodes": nodes,
            "metrics": result.metrics,
            "report": result.report,
            "pushed_version": result.pushed_version,
            "data": result.data,
            "seen_before": result.seen_before,
            "warnings": result.warnings,
            "error": f"{result.error}{where}" if result.error else None,
            "state": "failed" if result.error else _verdict(result),
        }
    )


def _how_it_died(folder: Path, code: int) -> str:
    """Returns why a worker has left no result: which signal ended it, or the last it said."""
    if code == -signal.SIGKILL:
        return (
            "The worker was killed, as the system does when memory runs out. Lower steps.max_steps or "
            "training.batch_size, or use a machine with more memory."
        )
    if code < 0:
        return f"The worker was ended by {signal.Signals(-code).name}, inside of a library."
    said = [
        line
        for line in _last_log(folder).read_text(encoding="utf-8", errors="replace").splitlines()
        if line
    ]
    return f"The worker ended with {code}: {said[-1] if said else 'it said nothing'}"


def _last_log(folder: Path) -> Path:
    """Returns what the worker wrote last: a node's log, or its first words."""
    logs = [
        file
        for file in (folder / "start-up.txt", *folder.glob("logs/*.log"))
        if file.stat().st_size
    ]
    return max(logs, key=lambda file: file.stat().st_mtime_ns, default=folder / "start-up.txt")


def _verdict(result: Result) -> RunState:
    if result.seen_before:
        return "no new data"
    if result.metrics is None:
        return "passed"
    blessed = json.loads(Path(result.metrics).read_text(encoding="utf-8"))["blessed"]
    return "passed" if blessed else "gates failed"


def _interrupted(
    record: RunRecord,
    folder: Path,
    layout: Layout,
    store: Metadata,
    *,
    patience: float | None = None,
) -> RunRecord:
    if store.store == "mysql" or layout.metadata.exists():
        from pipeline.run.recover import cancel_unfinished
        from pipeline.store import connect, connection_config

        connection = connection_config(store, layout)
        cancel_unfinished(connect(connection, patience=patience), layout, record.run)
    nodes, _ = _read_state(folder)
    for node in nodes:
        node.state = "interrupted" if node.state == "running" else node.state
    return record.model_copy(update={"state": "interrupted", "nodes": nodes})


def _recover(layout: Layout, store: Metadata) -> None:
    """Tidies up after runs whose processes died without doing so themselves."""
    for record in read_records(layout.root, layout.name):
        folder = run_folder(layout, record.run)
        if record.state == "interrupted" and record.seconds is None:
            record = _interrupted(record, folder, layout, store)
            record.seconds = 0.0
            write_record(folder, record)
