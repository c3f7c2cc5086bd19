"""What only a machine with a GPU shows, in at most ten minutes: `python -m benchmarks.gpu`.

.venv/bin/python -m benchmarks.gpu [--out gpu-results] [--seconds 600] [--parts NAME ...]
    [--dry-run]

Runs the parts in `benchmarks.gpu.parts` one after the other, each in a process of its own with its
own share of the time. After each, `results.json` and `results.md` are written anew, so that a run
that is cut off keeps what it has; one part that fails, hangs or kills its process stops no other.
`parts.log` has what they printed. Where the system shows no NVIDIA GPU, or with `--dry-run`, sizes
are tiny, TensorFlow is shown no GPU, and the results say so.

This process imports the standard library only: the script starts wherever there is a Python.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.results import MARKDOWN, PartResult, Results, Row, State
from benchmarks.machine import describe_machine, warn_if_busy
from components.gpu import gpus

REPOSITORY = Path(__file__).parents[2]
LOG = "parts.log"
SECONDS = 600.0  # for all parts together, which their shares add up to
MARGIN = 3.0  # seconds before its end at which a part stops measuring by itself


@dataclass(frozen=True)
class Run:
    """What all parts of a run share.

    Attributes:
        work: the folder for what parts leave for later ones.
        log: where parts print to.
        tiny: whether it is a dry run.
        ends: when the whole time is over, as `time.monotonic`.
        stretch: what the shares of parts are multiplied by.
    """

    work: Path
    log: IO[str]
    tiny: bool
    ends: float
    stretch: float = 1.0


def main() -> int:
    """Runs the parts; returns 1 if one has failed or was cut off."""
    options = _parse()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM")
    )  # with the part that runs
    dry_run = options.dry_run or not gpus()
    print(warn_if_busy(), end="", file=sys.stderr)
    started = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    results = Results(dry_run, describe_machine(), started)

    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="mastery-gpu-") as work,
        (options.out / LOG).open("w", encoding="utf-8") as log,
    ):
        ends, stretch = time.monotonic() + options.seconds, options.seconds / SECONDS
        run = Run(Path(work), log, dry_run, ends, stretch)
        for name in options.parts:
            results.parts.append(run_part(name, PARTS[name], run))
            results.write(options.out)
            _show(results.parts[-1])

    print(f"\n{results.as_markdown()}\n{options.out / MARKDOWN}")
    return int(any(part.state in ("failed", "cut off") for part in results.parts))


def run_part(name: str, part: Part, run: Run) -> PartResult:
    """Runs a part in a process of its own, which is killed when its share of the time is over."""
    share = part.seconds * run.stretch
    limit = min(share, run.ends - time.monotonic())
    if limit <= MARGIN:
        return PartResult(name, part.title, "skipped", "the time was over", 0.0, share)

    lines = run.work / f"{name}.jsonl"
    command = [
        sys.executable, "-m", "benchmarks.gpu.run_part", name,
        "--folder", str(run.work), "--lines", str(lines), "--seconds", str(limit - MARGIN),
        *(["--tiny"] if run.tiny else []),
    ]  # fmt: skip
    print(f"=== {name}", file=run.log, flush=True)
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=_environment(hide=part.hides_gpus or run.tiny),
        stdout=run.log,
        stderr=run.log,
        start_new_session=True,
    ) as process:
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(limit)
        finally:
            code = process.poll()
            _end(process)
    seconds = time.monotonic() - began

    found = _read(lines)
    state, reason = _ending(found, code)
    notes = [line["note"] for line in found if "note" in line]
    return PartResult(name, part.title, state, reason, seconds, limit, notes, _tables(found))


def _environment(*, hide: bool) -> dict[str, str]:
    """Returns this process's environment, without GPUs or with those that it sees itself."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "1", **os.environ}
    return {**environment, "CUDA_VISIBLE_DEVICES": "-1"} if hide else environment


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a part, and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(lines: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a part's file; the last one may be cut."""
    if not lines.exists():
        return []
    whole = lines.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in whole if line.endswith("\n")]


def _ending(found: Iterable[dict[str, Any]], code: int | None) -> tuple[State, str]:
    said = next((line for line in found if "state" in line), None)
    if said:
        return said["state"], said["reason"]
    if code is None:
        return "cut off", "its share of the time was over"
    return "failed", f"its process ended with {code}; {LOG} has the rest"


def _tables(found: Iterable[dict[str, Any]]) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    for line in found:
        if "table" in line:
            tables.setdefault(line["table"], []).append(line["row"])
    return tables


def _show(part: PartResult) -> None:
    reason = f": {part.reason}" if part.reason else ""
    print(f"{part.name}: {part.state} after {part.seconds:.0f} s{reason}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of results")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, on the CPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
