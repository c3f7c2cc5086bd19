"""Measures what the prediction log costs: a server with it beside one without it.

.venv/bin/python -m benchmarks.prediction_log --models runs/sample/serving [--seconds 2]
    [--clients 1 64] [--pairs 10]

Both servers run all the time, and are asked in turn, each pair in the other order than the one
before, so that other load on the machine affects both alike. Every answer is logged. It prints the
medians of the pairs' ratios, with their quartiles, as Markdown; then whether the log has every
row. Besides the server's own CPU time there is that of the process that moves rows into Parquet
files, at a lower priority.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from benchmarks.machine import describe_machine
from benchmarks.serving import Bench, Measured, cpu_seconds, newest_version, percentile, serving
from serving.prediction_log.log_store import Query
from serving.prediction_log.parquet_log import ParquetLog

KINDS = ("gRPC by hand", "REST by hand")


def mover_seconds(server: int) -> float:
    """Returns the CPU seconds of the process that moves a server's rows (Linux)."""
    tasks = Path(f"/proc/{server}/task").glob("*/children")
    children = [child for task in tasks for child in task.read_text().split()]
    return sum(
        cpu_seconds(int(child))
        for child in children
        if b"prediction_log.mover" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def logged_rows(port: int) -> int:
    """Returns how many rows a server has acknowledged."""
    with urlopen(f"http://127.0.0.1:{port}/monitoring/prometheus/metrics") as page:
        lines = page.read().decode().splitlines()
    line = next(line for line in lines if 'prediction_log_rows{state="logged"}' in line)
    return int(float(line.split()[-1]))


def measure_pairs(
    without: Bench, with_log: Bench, kind: str, clients: int, pairs: int
) -> list[tuple[Measured, Measured]]:
    """Returns pairs of measurements, without the log and with it."""
    found = []
    for number in range(pairs):
        if number % 2:
            on = with_log.measure(kind, clients)
            off = without.measure(kind, clients)
        else:
            off = without.measure(kind, clients)
            on = with_log.measure(kind, clients)
        found.append((off, on))
    return found


def ratio(values: Sequence[float]) -> str:
    """Returns a median ratio as text, with its quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def print_pairs(kind: str, clients: int, pairs: Sequence[tuple[Measured, Measured]]) -> None:
    """Prints one row of the table."""
    off = statistics.median(percentile(pair[0].times, 0.5) for pair in pairs)
    p50, p99 = (
        [percentile(on.times, share) / percentile(off.times, share) for off, on in pairs]
        for share in (0.5, 0.99)
    )
    cpu = [on.server / off.server for off, on in pairs]
    cells = (kind, str(clients), f"{off:.2f}", ratio(p50), ratio(p99), ratio(cpu))
    print(f"| {' | '.join(cells)} |", flush=True)


def main(models: Path, name: str, seconds: float, clients: Sequence[int], pairs: int) -> None:
    """Prints the ratios."""
    version = newest_version(models)
    with (
        tempfile.TemporaryDirectory() as first,
        tempfile.TemporaryDirectory() as second,
        tempfile.TemporaryDirectory() as log,
    ):
        with (
            serving(models, name) as plain,
            serving(models, name, options=["--prediction-log", log]) as logging,
        ):
            without = Bench(version, name, seconds, plain, Path(first))
            with_log = Bench(version, name, seconds, logging, Path(second))
            print(f"{describe_machine()}, load {os.getloadavg()[0]:.1f}\n")
            print("| | clients | p50 without, ms | p50 | p99 | server CPU |")
            print("|---|--:|--:|--:|--:|--:|")

            begun = time.monotonic()
            for kind in KINDS:
                for count in clients:
                    found = measure_pairs(without, with_log, kind, count, pairs)
                    print_pairs(kind, count, found)
            seconds = time.monotonic() - begun
            print(f"\nmover: {mover_seconds(logging.pid):.1f} CPU s in {seconds:.0f} s")
            logged = logged_rows(logging.ports[0])

        rows = sum(1 for _ in ParquetLog(Path(log)).read(Query()))
        print(f"{logged:,} rows acknowledged, {rows:,} in the log")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--name", default="sample")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--pairs", type=int, default=10)
    given = parser.parse_args()
    main(given.models, given.name, given.seconds, given.clients, given.pairs)
