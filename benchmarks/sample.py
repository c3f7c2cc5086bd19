"""Simulates logs and runs the sample pipeline on them, as commands that are timed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from components.contracts.run_record import RunRecord

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / "configs" / "sample.yaml"
MASTERY = (sys.executable, "-m", "pipeline.cli.main")
PUSHED_OR_NOT = (0, 1)  # exit codes: slices of small logs are too small for the gates

Watch = Callable[[int], AbstractContextManager[object]]  # gets the number of a process


@dataclass(frozen=True)
class Finished:
    """A command that has ended.

    Attributes:
        seconds: by the clock.
        cpu: seconds of all processors, in the command and in what it started.
        output: what it printed.
    """

    seconds: float
    cpu: float
    output: str


def simulate(learners: int, log: Path) -> Finished:
    """Writes the log of so many learners, always the same one, into a new folder."""
    size = ("--learners", str(learners), "--seed", "1")
    return run_command([*MASTERY, "simulate", *size, "--out", str(log)])


def run_sample(
    log: Path,
    root: Path,
    settings: Mapping[str, object] | None = None,
    *options: str,
    endings: Sequence[int] = (0,),
    watch: Watch = nullcontext,
) -> Finished:
    """Runs the sample pipeline.

    Args:
        log: the folder of a simulated log.
        root: where runs are kept.
        settings: keys of the configuration with their values.
        options: further options of `mastery run`.
        endings: as in `run_command`.
        watch: as in `run_command`.
    """
    tables = {f"data.{name}": log / f"{name}.parquet" for name in ("events", "outcomes")}
    values = {**tables, **(settings or {})}
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    command = [*MASTERY, "run", "--config", str(CONFIG), "--root", str(root), *options, *sets]
    return run_command(command, endings=endings, watch=watch)


def run_command(
    command: Sequence[str], *, endings: Sequence[int] = (0,), watch: Watch = nullcontext
) -> Finished:
    """Runs a command in the repository to its end; another ending than those ends this program.

    Args:
        command: the program and its arguments.
        endings: exit codes that are expected.
        watch: surrounds the time in which the command runs.
    """
    before = os.times()
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=errors) as process,
        watch(process.pid),
    ):
        code = process.wait()
        output.seek(0)
        errors.seek(0)
        printed = output.read().decode(errors="replace")
        complaints = errors.read().decode(errors="replace")
    after = os.times()
    if code not in endings:
        sys.exit(f"{' '.join(command)}\nended with {code}:\n{printed}{complaints}")

    user = after.children_user - before.children_user
    system = after.children_system - before.children_system
    return Finished(after.elapsed - before.elapsed, user + system, printed)


def latest_record(root: Path) -> RunRecord:
    """Returns the record of the latest run below a root."""
    return RunRecord.read_file(max(root.glob(f"*/runs/*/{RunRecord.FILE}")))
