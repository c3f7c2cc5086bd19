"""Measures how long a scoring takes and how much memory, for logs of several sizes.

.venv/bin/python -m benchmarks.scoring --model runs/sample/serving/1234567890
    [--learners 32500 130000] [--postgresql URL] [--keep FOLDER]

Each size is a simulated log (32,500 learners: about 1,000,000 events). It is read alone, as
`mastery score` reads it; scored into an empty database of SQLite and, with `--postgresql`, of
PostgreSQL (an empty database, which is emptied again); scored again, which writes nothing; and
scored a day later with `--only-new`. Prints a Markdown table: seconds, seconds of the processors,
the ratio of these to reading alone, and the peak of memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.machine import describe_machine, warn_if_busy

READ = """
import sys, tempfile
from components.event_log.log_spec import question_spec
from components.event_log.sources import find_files
from components.model_version.pushed_version import config_of
from pathlib import Path
from serving.answers.scoring.activity import ActivityColumns
from serving.answers.scoring.job import Job
from serving.answers.scoring.pipeline import read_log
from components.config.beam import Beam
spec = question_spec(config_of(Path(sys.argv[1]), name=sys.argv[1]))
files = {"events": find_files("events", [sys.argv[2]]).files}
activity = ActivityColumns().find(files["events"], spec)
with tempfile.TemporaryDirectory() as scratch:
    read_log(Job.of(spec, [], files, activity, [], scratch), Beam().options)
"""


@dataclass(frozen=True)
class Measured:
    """One process.

    Attributes:
        seconds: from start to end.
        cpu: seconds of the processors.
        peak: GB of resident memory.
        said: what it printed.
    """

    seconds: float
    cpu: float
    peak: float
    said: str


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--learners", type=int, nargs="+", default=[32_500, 130_000])
    parser.add_argument("--postgresql", metavar="URL")
    parser.add_argument("--keep", type=Path, help="keeps the logs, and takes those that are there")
    options = parser.parse_args()
    print(warn_if_busy(), end="", file=sys.stderr)

    with _folder(options.keep) as folder:
        print("| events | what | seconds | CPU seconds | × reading | peak GB |")
        print("|--:|---|--:|--:|--:|--:|")
        for learners in options.learners:
            log = _simulate(folder, learners)
            count = pl.scan_parquet(log / "events.parquet").select(pl.len()).collect().item()
            reading = run_process([sys.executable, "-c", READ, str(options.model), _events(log)])
            _print(count, "reading alone", reading, reading)
            for name, url in _databases(folder, options.postgresql):
                for what, measured in _score(options.model, log, url):
                    _print(count, f"{name}: {what}", measured, reading)
                _remove(url)
    print(f"\n{describe_machine()}")


def _score(model: Path, log: Path, url: str) -> Iterator[tuple[str, Measured]]:
    last = pl.scan_parquet(log / "events.parquet").select(pl.col("time").max()).collect().item()
    command = [
        sys.executable, "-m", "pipeline.cli.main", "score", "--model", str(model),
        "--events", _events(log), "--learners", str(log / "outcomes.parquet"), "--to", url,
    ]  # fmt: skip
    day_before = ["--as-of", (last - timedelta(days=30)).isoformat()]
    yield "first", run_process([*command, *day_before])
    yield "the same again", run_process([*command, *day_before])
    day = ["--as-of", (last - timedelta(days=29)).isoformat(), "--only-new"]
    yield "a day later, `--only-new`", run_process([*command, *day])


def run_process(command: list[str]) -> Measured:
    """Runs a process to its end; its peak is its own, not that of its children."""
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exited with {process.returncode}")
    seconds = time.monotonic() - started
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, said)


def _print(events: int, what: str, measured: Measured, reading: Measured) -> None:
    ratio = measured.cpu / reading.cpu
    print(
        f"| {events:,} | {what} | {measured.seconds:.0f} | {measured.cpu:.0f} | {ratio:.1f} "
        f"| {measured.peak:.2f} |",
        flush=True,
    )
    print(measured.said, end="", file=sys.stderr)


def _simulate(folder: Path, learners: int) -> Path:
    log = folder / f"log-{learners}"
    if not (log / "events.parquet").is_file():
        command = [sys.executable, "-m", "pipeline.cli.main", "simulate", "--learners"]
        done = [*command, str(learners), "--seed", "1", "--out", str(log)]
        subprocess.run(done, check=True, stdout=subprocess.DEVNULL)
    return log


def _events(log: Path) -> str:
    return str(log / "events.parquet")


def _databases(folder: Path, postgresql: str | None) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory(dir=folder) as here:
        yield "SQLite", f"sqlite:///{here}/answers.db"
    if postgresql:
        yield "PostgreSQL", postgresql


def _remove(url: str) -> None:
    """Empties PostgreSQL's database; the folder of SQLite's is removed with it."""
    if url.startswith("sqlite"):
        return
    from serving.answers.database import open_database

    engine = open_database(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
