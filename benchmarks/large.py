"""Measures seconds and memory of runs up to Transform, over logs from small to large.

.venv/bin/python -m benchmarks.large [--learners 100000 400000 1600000] [--keep FOLDER]

Each size is a simulated log and one run in a new root. Prints a Markdown table of seconds and peak
memory per node, and draws `benchmarks/large.svg`: both against learners, beside what growth in
proportion and 3 GB would be. The largest of the usual sizes needs about 15 GB of disk.

The peak of a node is its process's resident memory. That of a run is the memory of all its
processes together, each shared page counted once, twice a second; Linux alone has this figure.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from benchmarks.log_chart import Line, Panel, draw
from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.processes import family, peaks_of
from benchmarks.sample import latest_record, run_sample, simulate

if TYPE_CHECKING:
    from components.contracts.run_record import NodeRecord

CHART = Path(__file__).with_suffix(".svg")
LAST = "Transform"
LIMIT = 3.0  # GB, of memory


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        learners: in the log.
        events: in the log.
        simulated: seconds to write the log.
        seconds: of the whole command.
        cpu: seconds of all processors.
        peak: GB of all processes together; None where the system does not tell.
        nodes: what the run has recorded.
    """

    learners: int
    events: int
    simulated: float
    seconds: float
    cpu: float
    peak: float | None
    nodes: list[NodeRecord]


def main() -> None:
    """Measures, prints and draws."""
    options = _parse()
    print(warn_if_busy(), end="", file=sys.stderr)
    with _folder(options.keep) as folder:
        runs = [measure(learners, folder, options) for learners in sorted(options.learners)]

    print(f"\n{describe_machine()}; one run each.\n")
    print("\n".join(table(runs)))
    CHART.write_text(chart(runs), encoding="utf-8")
    print(f"\nDrawn: {CHART}")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yields the folder of logs and runs, and removes it at the end unless it was asked for."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mastery-large-") as folder:
        yield Path(folder)


def measure(learners: int, folder: Path, options: argparse.Namespace) -> Measured:
    """Simulates a log of so many learners, and runs the pipeline on it up to `LAST`."""
    log = folder / f"log-{learners}"
    simulated = simulate(learners, log).seconds
    root = Path(tempfile.mkdtemp(prefix=f"root-{learners}-", dir=folder))
    settings = dict(setting.split("=", 1) for setting in options.set)
    peaks: dict[str, float] = {}
    ended = run_sample(log, root, settings, "--to", LAST, watch=partial(_watched, peaks))
    peak = peaks.get("run") or None
    nodes = latest_record(root).nodes
    events = pq.read_metadata(log / "events.parquet").num_rows
    run = Measured(learners, events, simulated, ended.seconds, ended.cpu, peak, nodes)
    print(f"{learners:,} learners: {ended.seconds:.1f} s, {_gb(peak)}", file=sys.stderr, flush=True)
    return run


@contextmanager
def _watched(peaks: dict[str, float], process: int) -> Iterator[None]:
    """Puts the peak of a process and its descendants into `peaks`, as `run`."""
    with peaks_of({"run": partial(family, process)}) as found:
        yield
    peaks.update(found)


def table(runs: Sequence[Measured]) -> list[str]:
    """Returns the lines of a Markdown table: one column per size, one row per node."""
    heads = [f"{run.learners:,} learners" for run in runs]
    rows = [["", *heads], ["---", *["---:"] * len(runs)]]
    rows.append(["events", *(f"{run.events:,}" for run in runs)])
    rows.append(["`mastery simulate`", *(f"{run.simulated:.1f} s" for run in runs)])
    for place, node in enumerate(runs[0].nodes):
        if node.seconds is not None:
            rows.append([node.id, *(_node_cell(run.nodes[place]) for run in runs)])
    rows.append(["**the whole run**", *(f"{run.seconds:.1f} s, {_gb(run.peak)}" for run in runs)])
    rows.append(["seconds of all processors", *(f"{run.cpu:.1f} s" for run in runs)])
    rows.append(
        ["... per million events", *(f"{run.cpu / run.events * 1e6:.2f} s" for run in runs)]
    )
    return [f"| {' | '.join(row)} |" for row in rows]


def _node_cell(node: NodeRecord) -> str:
    peak = None if node.peak_mib is None else node.peak_mib * 2**20 / 1e9
    return f"{node.seconds or 0.0:.1f} s, {_gb(peak)}"


def _gb(peak: float | None) -> str:
    return "memory unknown" if peak is None else f"{peak:.2f} GB"


def chart(runs: Sequence[Measured]) -> str:
    """Returns two panels as SVG: seconds and memory against learners."""
    learners = [run.learners for run in runs]
    seconds = [run.seconds for run in runs]
    memory = [run.peak or math.nan for run in runs]
    proportion = [seconds[0] * size / learners[0] for size in learners]
    panels = [
        Panel(
            "seconds; dashed: in proportion",
            [Line(seconds), Line(proportion, is_reference=True)],
        ),
        Panel(
            "peak memory, GB; dashed: 3 GB",
            [Line(memory), Line([LIMIT] * len(runs), is_reference=True)],
        ),
    ]
    label = "Seconds and peak memory of a run up to Transform, against learners"
    return draw(panels, learners, label)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", type=int, nargs="+", default=[100_000, 400_000, 1_600_000])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and runs in there")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
