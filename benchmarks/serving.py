"""Measures the embedded server beside a direct call of the SavedModel, on the same machine.

.venv/bin/python -m benchmarks.serving --models runs/sample/serving [--seconds 5]
    [--clients 1 16 64] [--repeat 3]

First, one client makes each request directly, by gRPC and by REST, one after another, so that other
load on the machine affects all three alike. Then 1, 16 and 64 clients send requests all the time.
Last, new versions are pushed meanwhile: a single failed request ends the run. The machine's load is
printed with the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.model_version.folders import find_versions

CLIENTS = Path(__file__).with_name("serving_clients.py")
Times = list[float]


@dataclass(frozen=True)
class Served:
    """An embedded server in a process of its own.

    Attributes:
        ports: of REST and gRPC.
        pid: of the process.
        log: file that it logs to.
    """

    ports: tuple[int, int]
    pid: int
    log: Any


@contextlib.contextmanager
def serving(
    models: Path, name: str, descriptors: int | None = None, token: str | None = None
) -> Iterator[Served]:
    """Yields a server; `descriptors` limits its open files, `token` is required from callers."""
    command = [
        sys.executable, "-m", "pipeline.cli.main", "serve", "--engine", "embedded",
        "--models", str(models), "--name", name, "--rest-port", "0", "--grpc-port", "0",
    ]  # fmt: skip
    if descriptors:
        command = ["bash", "-c", f'ulimit -n {descriptors} && exec "$@"', "-", *command]
    environment = dict(os.environ)
    if token:
        environment["MASTERY_SERVE_TOKEN"] = token

    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stderr=log, stdout=log, env=environment) as process,
    ):
        try:
            yield Served(_ports(process, log), process.pid, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def _ports(process: subprocess.Popen[bytes], log: Any) -> tuple[int, int]:
    for _ in range(600):
        log.seek(0)
        text = log.read()
        line = next((line for line in text.splitlines() if line.startswith("Serving ")), None)
        if line:
            rest, grpc_ = line.split("REST ")[1].split(", gRPC ")
            return int(rest.split(":")[2].split("/")[0]), int(grpc_.rstrip(".").split(":")[-1])
        if process.poll() is not None:
            raise RuntimeError(text)
        time.sleep(0.2)
    raise RuntimeError("the server did not start")


def percentile(times: Times, share: float) -> float:
    """Returns a percentile in milliseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1e3


class Bench:
    """One server, and the measurements of it."""

    def __init__(self, version: Path, name: str, seconds: float, ports: tuple[int, int]) -> None:
        self._version = version
        self._name = name
        self._seconds = seconds
        self._ports = ports

    def measure(self, kind: str, count: int) -> dict[str, Times]:
        """Returns the seconds of each call, by kind."""
        ports = [str(port) for port in self._ports]
        model = [str(self._version), str(self._seconds), *ports, self._name]
        command = [sys.executable, str(CLIENTS), kind, *model, str(count)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        return dict(json.loads(done.stdout))

    def one_client(self, repeat: int) -> None:
        """Prints the ratios to a direct call of the SavedModel."""
        parts = [self.measure("in turn", 1) for _ in range(repeat)]
        print(f"one client, in turn   p50 ms  p99 ms  p50/direct   (load {os.getloadavg()[0]:.1f})")
        for kind in parts[0]:
            p50, p99 = (
                statistics.median(percentile(part[kind], share) for part in parts)
                for share in (0.5, 0.99)
            )
            ratios = (percentile(p[kind], 0.5) / percentile(p["direct"], 0.5) for p in parts)
            ratio = statistics.median(ratios)
            print(f"{kind:20} {p50:7.2f} {p99:7.2f} {ratio:11.2f}", flush=True)

    def many_clients(self, clients: Sequence[int], repeat: int) -> None:
        """Prints times and rates of many clients beside those of one."""
        columns = "clients              p50 ms  p99 ms  predictions/s  of one client"
        print(f"{columns}   (load {os.getloadavg()[0]:.1f})")
        for kind in ("gRPC", "REST"):
            parts = {
                count: [self.measure(kind, count)[kind] for _ in range(repeat)] for count in clients
            }
            rates = {
                count: statistics.median(len(part) / self._seconds for part in parts[count])
                for count in clients
            }
            for count in clients:
                p50, p99 = (
                    statistics.median(percentile(part, share) for part in parts[count])
                    for share in (0.5, 0.99)
                )
                of_one = rates[count] / rates[clients[0]]
                row = f"{count:4} {kind:15} {p50:7.2f} {p99:7.2f}"
                print(f"{row} {rates[count]:14.0f} {of_one:14.1f}", flush=True)

    def reload(self, clients: int, versions: int) -> None:
        """Pushes versions while clients ask; ends the run if a request fails."""
        newest = int(self._version.name)
        asking = threading.Thread(target=lambda: answered.update(self.measure("gRPC", clients)))
        answered: dict[str, Times] = {}
        asking.start()

        pushed = 0
        while asking.is_alive():
            beside = self._version.with_name(".push")
            shutil.copytree(self._version, beside)
            beside.rename(self._version.with_name(str(newest + pushed + 1)))
            pushed += 1
            asking.join(self._seconds / versions)

        if not answered:
            raise SystemExit("a request was lost")
        p99 = percentile(answered["gRPC"], 0.99)
        count = len(answered["gRPC"])
        print(f"{pushed} versions pushed under load: {count} requests, none lost, p99 {p99:.0f} ms")


def newest_version(models: Path) -> Path:
    """Returns the folder of the newest version below a model's folder."""
    return list(find_versions(models).paths.values())[-1]


def main(models: Path, name: str, seconds: float, clients: Sequence[int], repeat: int) -> None:
    """Prints milliseconds and ratios; uses a copy of the model, as it pushes versions."""
    newest = newest_version(models)
    with tempfile.TemporaryDirectory() as folder:
        version = Path(shutil.copytree(newest, Path(folder, newest.name)))
        with serving(Path(folder), name) as server:
            bench = Bench(version, name, seconds, server.ports)
            bench.one_client(repeat)
            bench.many_clients(clients, repeat)
            bench.reload(max(clients), 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--name", default="sample")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    main(given.models, given.name, given.seconds, given.clients, given.repeat)
