"""Measures reading and checking a platform's log beside the same log as a table of events.

.venv/bin/python -m benchmarks.formats [--lines 2000000] [--formats moodle open_edx xapi caliper]
    [--keep FOLDER]

Each log is written by the simulator, with as many learners as give about so many lines, and read by
`mastery check-log` in a process of its own; the table has the same learners. Prints a Markdown
table: seconds, CPU seconds, the ratio of these to those of the table, and the peak of memory.
A log of 2,000,000 lines needs up to 3 GB of disk; one at a time is there unless they are kept.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import MASTERY, REPOSITORY
from benchmarks.scoring import Measured, run_process
from components.platforms.formats import PLATFORMS
from components.simulator.platform_logs import FILES

LINES = 2_000_000  # of the target: at most 30 s
# How many lines of events a learner has, those that are left out included.
LINES_EACH = {"parquet": 31.6, "moodle": 37.3, "open_edx": 85.6, "xapi": 35.9, "caliper": 34.9}
EVENTS = {"parquet": "events.parquet", **FILES}
FEATURES = {
    "event_type": "categorical",
    "component": "categorical",
    "dwell_seconds": "numeric",
    "completed": "numeric",
    "correct": "numeric",
    "playback_speed": "numeric",
}
OWN_NAMES = {"component": "knowledge_component", "completed": "exercise_completed"}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--formats", nargs="+", choices=PLATFORMS, default=PLATFORMS)
    parser.add_argument("--keep", type=Path, help="keeps the logs, and takes those that are there")
    options = parser.parse_args()
    print(warn_if_busy(), end="", file=sys.stderr)

    print("| log | lines | GB | seconds | CPU seconds | × the table's | peak GB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    table: Measured | None = None
    for name in ("parquet", *options.formats):
        with tempfile.TemporaryDirectory(prefix="mastery-formats-") as temporary:
            folder = options.keep or Path(temporary)
            measured = _measure(name, folder, options.lines, table)
        table = table or measured
    print(f"\n{describe_machine()}; one run each.")


def _measure(name: str, folder: Path, lines: int, table: Measured | None) -> Measured:
    """Writes a log, unless it is there, and reads it; prints a row."""
    file, lines_per_learner = EVENTS[name], LINES_EACH[name]
    log = folder / f"{name}-{lines}"
    if not (log / file).is_file():
        size = ["--learners", str(round(lines / lines_per_learner)), "--format", name]
        command = [*MASTERY, "simulate", *size, "--out", str(log)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=REPOSITORY)

    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(_configuration(name, log, file)), encoding="utf-8")
    measured = run_process([*MASTERY, "check-log", "--config", str(config)])
    ratio = measured.cpu / (table or measured).cpu
    print(
        f"| {name} | {_count_lines(measured.said):,} | {(log / file).stat().st_size / 1e9:.2f} "
        f"| {measured.seconds:.1f} | {measured.cpu:.1f} | {ratio:.1f} | {measured.peak:.2f} |",
        flush=True,
    )
    return measured


def _configuration(name: str, log: Path, file: str) -> dict[str, object]:
    """Returns what `check-log` needs to know."""
    is_table = name == "parquet"
    names = OWN_NAMES if is_table else {}
    features = {names.get(feature, feature): kind for feature, kind in FEATURES.items()}
    return {
        "name": "formats",
        "data": {
            "format": name,
            "events": str(log / file),
            "outcomes": str(log / ("outcomes.parquet" if is_table else "outcomes.csv")),
            "max_cold_start_share": 0.1,
            "dwell_cap_seconds": 1800.0,
        },
        "schema": "schema.pbtxt",
        "label": {"column": "mastery", "classes": ["not_mastered", "partial", "proficient"]},
        "gates": [{"metric": "f1_macro", "min": 0.5}],
        "steps": {"features": {feature: {"type": kind} for feature, kind in features.items()}},
    }


def _count_lines(said: str) -> int:
    """Returns how many lines or rows of events `check-log` says that it read."""
    found = re.search(r"^lines +([\d,]+) +of events", said, re.MULTILINE)
    found = found or re.search(r"^events +([\d,]+)", said, re.MULTILINE)
    assert found, "check-log prints both"
    return int(found[1].replace(",", ""))


if __name__ == "__main__":
    main()
