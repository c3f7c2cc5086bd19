"""Times whole runs of the pipeline against the same job written plainly, at several sizes.

.venv/bin/python -m benchmarks.runs [--learners 2000 20000 100000] [--runs 3] [--epochs 5]

Each size is measured on one simulated log, run and plain script in turn, each in a new process and
a new root, by the clock and by the seconds of all processors. Prints a Markdown table of medians,
one of where the seconds of a run go, and how long it takes again with nothing changed. `--plain`
names another script to compare with; it is called with a log, a folder and the number of epochs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import PUSHED_OR_NOT, latest_record, run_command, run_sample, simulate
from components.contracts.evaluation import Evaluation

if TYPE_CHECKING:
    from components.contracts.run_record import RunRecord

PLAIN = Path(__file__).with_name("plain.py")


@dataclass(frozen=True)
class Timing:
    """How long a command took.

    Attributes:
        wall: seconds by the clock.
        cpu: seconds of all processors, in the command and in what it started.
        f1: macro F1 on the command's own test split.
    """

    wall: float
    cpu: float
    f1: float


@dataclass(frozen=True)
class Size:
    """The timings at one size.

    Attributes:
        learners: in the log.
        ours: runs of the pipeline.
        plain: runs of the plain script.
        again: the pipeline once more on the same root, with nothing changed.
        records: what each run of the pipeline has recorded.
    """

    learners: int
    ours: list[Timing]
    plain: list[Timing]
    again: list[Timing]
    records: list[RunRecord]

    @property
    def ratio(self) -> float:
        """The median run over the median plain script."""
        return _wall(self.ours) / _wall(self.plain)


def main() -> None:
    """Measures and prints."""
    options = _parse()
    print(warn_if_busy(), end="", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mastery-runs-") as folder:
        sizes = [measure(learners, Path(folder), options) for learners in options.learners]

    print(f"\n{describe_machine()}; {options.runs} runs each, medians; {options.epochs} epochs.\n")
    tables = [ratio_table(sizes), *map(timeline_table, sizes)]
    print("\n\n".join("\n".join(lines) for lines in tables))


def measure(learners: int, folder: Path, options: argparse.Namespace) -> Size:
    """Runs both in turn on a log of so many learners."""
    log = folder / f"log-{learners}"
    simulate(learners, log)

    size = Size(learners, [], [], [], [])
    for number in range(options.runs):
        out = folder / f"plain-{learners}-{number}"
        out.mkdir()
        plain = [sys.executable, str(options.plain), str(log), str(out), str(options.epochs)]
        ended = run_command(plain)
        f1 = json.loads((out / "metrics.json").read_text())["f1_macro"]
        size.plain.append(Timing(ended.seconds, ended.cpu, f1))

        root = folder / f"root-{learners}-{number}"
        size.ours.append(_run(log, root, options.epochs))
        size.records.append(latest_record(root))
        size.again.append(_run(log, root, options.epochs))
        _report_progress(size)
    return size


def ratio_table(sizes: Iterable[Size]) -> list[str]:
    """Returns the lines of the table that compares whole commands."""
    lines = [
        "| learners | plain script, s | run, s | ratio | CPU seconds | macro F1 | again, s |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size in sizes:
        cells = [
            f"{size.learners:,}",
            _spread(size.plain),
            _spread(size.ours),
            f"**{size.ratio:.2f}**",
            f"{_cpu(size.plain):.1f} / {_cpu(size.ours):.1f}",
            f"{size.plain[-1].f1:.4f} / {size.ours[-1].f1:.4f}",
            f"{_wall(size.again):.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def timeline_table(size: Size) -> list[str]:
    """Returns the lines of the table of where the seconds of runs of one size go.

    Nodes overlap; each starts once those that it needs have ended and its modules are imported.
    """
    lines = [
        f"| {size.learners:,} learners | starts after, s | takes, s | peak, MiB |",
        "|---|---:|---:|---:|",
    ]
    for nodes in zip(*(record.nodes for record in size.records), strict=True):
        starts = [
            (node.started - record.started).total_seconds()
            for node, record in zip(nodes, size.records, strict=True)
            if node.started
        ]
        peaks = [node.peak_mib for node in nodes if node.peak_mib]
        peak = f"{max(peaks):,}" if peaks else "–"
        taken = median(node.seconds or 0.0 for node in nodes)
        lines.append(f"| {nodes[0].id} | {median(starts):.2f} | {taken:.2f} | {peak} |")
    lines.append(f"| the whole command | | {_wall(size.ours):.2f} | |")
    return lines


def _run(log: Path, root: Path, epochs: int) -> Timing:
    ended = run_sample(log, root, {"training.epochs": epochs}, endings=PUSHED_OR_NOT)
    metrics = latest_record(root).metrics
    assert metrics is not None
    f1 = Evaluation.read_file(Path(metrics)).overall.metrics["f1_macro"]
    return Timing(ended.seconds, ended.cpu, f1 or 0.0)


def _report_progress(size: Size) -> None:
    print(
        f"{size.learners:,} learners: plain {size.plain[-1].wall:.1f} s, "
        f"run {size.ours[-1].wall:.1f} s, again {size.again[-1].wall:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def _wall(timings: Iterable[Timing]) -> float:
    return median(timing.wall for timing in timings)


def _cpu(timings: Iterable[Timing]) -> float:
    return median(timing.cpu for timing in timings)


def _spread(timings: Sequence[Timing]) -> str:
    walls = sorted(timing.wall for timing in timings)
    return f"{median(walls):.1f} ({walls[0]:.1f} to {walls[-1]:.1f})"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", type=int, nargs="+", default=[2_000, 20_000, 100_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--plain", type=Path, default=PLAIN, help="the script to compare with")
    return parser.parse_args()


if __name__ == "__main__":
    main()
