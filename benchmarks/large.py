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
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from markupsafe import Markup

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import latest_record, run_sample, simulate
from components.report.charts import AxisScale

if TYPE_CHECKING:
    from components.contracts.run_record import NodeRecord

CHART = Path(__file__).with_suffix(".svg")
LAST = "Transform"
LIMIT = 3.0  # GB, of memory
INTERVAL = 0.5  # seconds between two looks at memory


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
    CHART.write_text(draw(runs), encoding="utf-8")
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
    peaks: list[float] = []
    ended = run_sample(log, root, settings, "--to", LAST, watch=partial(_watched, peaks))
    peak = max(peaks, default=None)
    nodes = latest_record(root).nodes
    events = pq.read_metadata(log / "events.parquet").num_rows
    run = Measured(learners, events, simulated, ended.seconds, ended.cpu, peak, nodes)
    print(f"{learners:,} learners: {ended.seconds:.1f} s, {_gb(peak)}", file=sys.stderr, flush=True)
    return run


@contextmanager
def _watched(seen: list[float], process: int) -> Iterator[None]:
    """Adds the GB in use by a process and its descendants to a list, again and again."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            if used := sum(map(_memory_of, _family(process))):
                seen.append(used)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _family(process: int) -> Iterator[int]:
    """Yields a process and all its descendants; nothing once it has ended, or without `/proc`."""
    waiting = [process]
    while waiting:
        current = waiting.pop()
        yield current
        for thread in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                waiting += map(int, thread.read_text().split())
            except OSError:  # it has just ended
                continue


def _memory_of(process: int) -> float:
    """Returns the GB of a process, its share of shared pages included; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e9


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


WIDTH, HEIGHT = 380, 280  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 44
STYLE = """\
text { font: 12px sans-serif; fill: #444 } .title { font-weight: bold }
.grid { stroke: #ddd } .measured { stroke: #2563a8; stroke-width: 2; fill: none }
.dot { fill: #2563a8 } .reference { stroke: #888; stroke-dasharray: 5 4; fill: none }
"""


def draw(runs: Sequence[Measured]) -> str:
    """Returns two panels as SVG, seconds and memory against learners, all axes logarithmic."""
    learners = [run.learners for run in runs]
    seconds = [run.seconds for run in runs]
    memory = [run.peak or math.nan for run in runs]
    proportion = [seconds[0] * size / learners[0] for size in learners]
    limit = [LIMIT] * len(runs)
    panels = [
        _panel("seconds; dashed: in proportion", learners, seconds, proportion),
        _panel("peak memory, GB; dashed: 3 GB", learners, memory, limit),
    ]

    second = Markup('<g transform="translate({} 0)">{}</g>').format(WIDTH, panels[1])
    label = "Seconds and peak memory of a run up to Transform, against learners"
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}"'
        ' role="img" aria-label="{2}"><style>{3}</style>'
        '<rect width="100%" height="100%" fill="white"/>{4}{5}</svg>\n'
    ).format(2 * WIDTH, HEIGHT, label, STYLE, panels[0], second)


def _panel(
    title: str, learners: Sequence[int], measured: Sequence[float], reference: Sequence[float]
) -> Markup:
    x = _Logarithmic(learners, LEFT, WIDTH - RIGHT)
    y = _Logarithmic([*measured, *reference], HEIGHT - BOTTOM, TOP)
    parts = [Markup('<text class="title" x="{}" y="18">{}</text>').format(LEFT, title)]

    grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    number = Markup('<text text-anchor="{}" x="{}" y="{}">{}</text>')
    for value in y.ticks():
        parts.append(grid.format(LEFT, WIDTH - RIGHT, y(value), y(value)))
        parts.append(number.format("end", LEFT - 6, y(value) + 4, f"{value:g}"))
    for size in learners:
        parts.append(grid.format(x(size), x(size), TOP, HEIGHT - BOTTOM))
        parts.append(number.format("middle", x(size), HEIGHT - BOTTOM + 17, f"{size:,}"))
    parts.append(number.format("middle", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "learners"))

    line = Markup('<polyline class="{}" points="{}"/>')
    dot = Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"/>')
    parts.append(line.format("reference", _points(x, y, learners, reference)))
    parts.append(line.format("measured", _points(x, y, learners, measured)))
    known = [pair for pair in zip(learners, measured, strict=True) if math.isfinite(pair[1])]
    parts += [dot.format(x(size), y(value)) for size, value in known]
    return Markup("").join(parts)


class _Logarithmic:
    """A logarithmic axis around some values, at least a decade, from `start` to `end` in pixels."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        finite = [value for value in values if math.isfinite(value)]
        low, high = min(finite), max(finite)
        room = max(1.3, math.sqrt(10 * low / high))
        self._low, self._high = low / room, high * room
        self._scale = AxisScale(math.log(self._low), math.log(self._high), start, end)

    def __call__(self, value: float) -> float:
        """Returns the place of a value."""
        return self._scale(math.log(value))

    def ticks(self) -> list[float]:
        """Returns 1, 2 and 5 times the powers of ten within the axis."""
        decades = range(math.floor(math.log10(self._low)), math.ceil(math.log10(self._high)))
        marks = (factor * 10.0**decade for decade in decades for factor in (1, 2, 5))
        return [mark for mark in marks if self._low <= mark <= self._high]


def _points(
    x: _Logarithmic, y: _Logarithmic, learners: Iterable[int], values: Iterable[float]
) -> str:
    pairs = zip(learners, values, strict=True)
    return " ".join(f"{x(size)},{y(value)}" for size, value in pairs if math.isfinite(value))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", type=int, nargs="+", default=[100_000, 400_000, 1_600_000])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and runs in there")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
