"""Measures what an engine costs: runs up to Transform in memory, and on Flink with 1 to 4 slots.

.venv/bin/python -m benchmarks.scale [--learners 2000 20000] [--slots 1 2 4] [--keep FOLDER]

Each size is a simulated log. On it the pipeline runs in a new root each time: as on one machine,
and on a real cluster of Flink on this machine, started once: a JobManager, two TaskManagers of two
slots, and `mastery beam-workers`. `beam.parallelism` is the number of slots. Prints a Markdown
table and draws `benchmarks/scale.svg`.

Seconds are by the clock, and of all processors in all processes: with more slots than processors
the second figure is what to look at. Memory is the peak of all processes of a kind together, each
shared page counted once: of the command and its nodes; of Java (JobManager, TaskManagers, Beam's
job server); and of SDK workers, which run our code for the TaskManagers. Needs Linux, Maven and
Java, as the tests on Flink do.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.log_chart import Line, Panel, draw
from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.processes import family, peaks_of, runs_java, seconds_of
from benchmarks.sample import MASTERY, REPOSITORY, latest_record, run_sample, simulate
from tests.flink import Cluster, find_programs, serve

CHART = Path(__file__).with_suffix(".svg")
LAST = "Transform"
NODES = ("ExampleGen", "StatisticsGen", "Transform")
KINDS = ("nodes", "Java", "SDK workers")
MANAGERS, SLOTS = 2, 4  # of the cluster
PATIENT = {"heartbeat.timeout": 50_000}  # Flink's own: a busy machine has not lost anybody


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: of the whole command.
        cpu: seconds of all processors, in the command and in the cluster.
        nodes: seconds of each of `NODES`.
        peaks: GB of each of `KINDS`.
        digest: of the transformed examples.
    """

    seconds: float
    cpu: float
    nodes: list[float]
    peaks: dict[str, float]
    digest: str


@dataclass(frozen=True)
class Engine:
    """A cluster with SDK workers.

    Attributes:
        cluster: the JobManager and its TaskManagers.
        pool: `mastery beam-workers`.
        address: host:port of the pool.
    """

    cluster: Cluster
    pool: subprocess.Popen[str]
    address: str

    def settings(self, slots: int) -> dict[str, object]:
        """Returns the configuration of a run that uses so many slots."""
        return {
            "beam.runner": "flink",
            "beam.flink_master": self.cluster.address,
            "beam.flink_job_server": self.cluster.programs.job_server,
            "beam.sdk_workers": self.address,
            "beam.parallelism": slots,
        }

    def processes(self) -> Iterator[int]:
        """Yields all processes of the engine."""
        programs = [self.cluster.manager, *self.cluster.workers]
        for process in [*(program.pid for program in programs), self.pool.pid]:
            yield from family(process)


def main() -> None:
    """Measures, prints and draws."""
    options = _parse()
    print(warn_if_busy(), end="", file=sys.stderr)
    names = ["in memory", *(f"Flink, {_slots(slots)}" for slots in options.slots)]
    table: dict[int, list[Measured]] = {}
    events: dict[int, int] = {}
    with _folder(options.keep) as folder, _engine(folder) as engine:
        for learners in sorted(options.learners):
            log = folder / f"log-{learners}"
            simulate(learners, log)
            events[learners] = pq.read_metadata(log / "events.parquet").num_rows
            runs = table[learners] = []
            for name, slots in zip(names, [0, *options.slots], strict=True):
                runs.append(measure(log, folder, engine, slots))
                print(f"{learners:,} learners, {name}: {runs[-1]}", file=sys.stderr, flush=True)

    print(f"\n{describe_machine()}; one run each.\n")
    print("\n".join(lines(table, events, names)))
    CHART.write_text(chart(table, names), encoding="utf-8")
    print(f"\nDrawn: {CHART}")


def measure(log: Path, folder: Path, engine: Engine, slots: int) -> Measured:
    """Runs the pipeline on a log: in memory with 0 slots, otherwise on Flink."""
    root = Path(tempfile.mkdtemp(prefix=f"root-{slots}-", dir=folder))
    settings = engine.settings(slots) if slots else {}
    peaks: dict[str, float] = {}

    @contextmanager
    def watch(process: int) -> Iterator[None]:
        def of_run(*, java: bool) -> Iterator[int]:
            return (item for item in family(process) if runs_java(item) == java)

        def java() -> Iterator[int]:
            yield from of_run(java=True)
            yield from (item for item in engine.processes() if slots and runs_java(item))

        def workers() -> Iterator[int]:
            yield from family(engine.pool.pid) if slots else ()

        groups = dict(zip(KINDS, (lambda: of_run(java=False), java, workers), strict=True))
        with peaks_of(groups) as found:
            yield
        peaks.update(found)

    before = sum(map(seconds_of, engine.processes()))
    ended = run_sample(log, root, settings, "--to", LAST, watch=watch)
    spent = sum(map(seconds_of, engine.processes())) - before if slots else 0.0
    seconds = {node.id: node.seconds or 0.0 for node in latest_record(root).nodes}
    of_nodes = [seconds[name] for name in NODES]
    return Measured(ended.seconds, ended.cpu + spent, of_nodes, peaks, _digest(root))


def lines(
    table: dict[int, list[Measured]], events: dict[int, int], names: Sequence[str]
) -> list[str]:
    """Returns the lines of a Markdown table: a row per run."""
    heads = ["learners", "events", "", "seconds", "× in memory", *NODES, "CPU seconds", "×"]
    rows = [[*heads, *(f"GB, {kind}" for kind in KINDS), "same examples"]]
    rows.append(["--:", "--:", "---", *["--:"] * (len(rows[0]) - 4), "---"])
    for learners, runs in table.items():
        here = runs[0]
        for name, run in zip(names, runs, strict=True):
            cells = [f"{learners:,}", f"{events[learners]:,}", name, f"{run.seconds:.0f}"]
            cells += [f"{run.seconds / here.seconds:.1f}", *(f"{node:.0f}" for node in run.nodes)]
            cells += [f"{run.cpu:.0f}", f"{run.cpu / here.cpu:.1f}"]
            cells += [f"{run.peaks[kind]:.2f}" if run.peaks[kind] else "" for kind in KINDS]
            rows.append([*cells, "yes" if run.digest == here.digest else "**no**"])
    return [f"| {' | '.join(row)} |" for row in rows]


def chart(table: dict[int, list[Measured]], names: Sequence[str]) -> str:
    """Returns two panels as SVG: processor seconds and memory against learners."""
    columns = [*zip(*table.values(), strict=True)]  # the runs of each engine
    cpu = [Line([run.cpu for run in runs], name) for name, runs in zip(names, columns, strict=True)]
    memory = [Line([sum(run.peaks.values()) for run in runs]) for runs in columns]
    panels = [
        Panel("seconds of all processors", cpu),
        Panel("peak memory of all processes, GB", memory),
    ]
    label = "Processor seconds and memory up to Transform against learners, by engine"
    return draw(panels, [*table], label)


def _slots(count: int) -> str:
    return f"{count} slot{'s' * (count > 1)}"


def _digest(root: Path) -> str:
    """Returns a digest of the transformed examples of a run, file by file."""
    digest = hashlib.sha256()
    for file in sorted(root.glob("*/nodes/Transform/transformed_examples/*/Split-*/*.gz")):
        digest.update(f"{file.parent.name}/{file.name}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _engine(folder: Path) -> Iterator[Engine]:
    """Starts a cluster and SDK workers, and ends them after the block."""
    cache = REPOSITORY / ".pytest_cache" / "d" / "flink"
    cache.mkdir(parents=True, exist_ok=True)
    at = folder / "flink"
    at.mkdir()
    command = [*MASTERY, "beam-workers", "--port", "0"]
    with (
        serve(find_programs(cache), at, workers=MANAGERS, others=PATIENT) as cluster,
        (folder / "workers.log").open("w") as errors,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as pool,
    ):
        try:
            assert pool.stdout is not None, "it is a pipe"
            address = pool.stdout.readline().partition(" at ")[2].partition(";")[0]
            yield Engine(cluster, pool, address.replace("127.0.0.1", "localhost"))
        finally:
            pool.terminate()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yields the folder of logs and runs, and removes it at the end unless it was asked for."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mastery-scale-") as folder:
        yield Path(folder)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument(
        "--slots", type=int, nargs="+", default=[1, 2, 4], choices=range(1, SLOTS + 1)
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and runs in there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
