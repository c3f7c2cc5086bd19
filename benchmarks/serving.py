"""Measures the embedded server beside a direct call of the SavedModel, on the same machine.

.venv/bin/python -m benchmarks.serving --models runs/sample/serving [--seconds 5]
    [--clients 1 16 64] [--repeat 3]

First, one client makes each request directly, by gRPC and by REST, one after another, so that other
load on the machine affects all alike. Then 1, 16 and 64 clients send requests all the time. Last,
new versions are pushed meanwhile: a single failed request ends the run.

It prints Markdown, medians of the repetitions. Clients and server share the machine, so the CPU
time of both is printed, too: what a client takes, the server cannot have. Clients "by hand" take
little; "grpcio" is the official client.
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

from benchmarks.machine import describe_machine
from components.model_version.folders import find_versions

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
    models: Path,
    name: str,
    descriptors: int | None = None,
    token: str | None = None,
    options: Sequence[str] = (),
) -> Iterator[Served]:
    """Yields a server; `descriptors` limits its open files, `token` is required from callers."""
    command = [
        sys.executable, "-m", "pipeline.cli.main", "serve", "--engine", "embedded",
        "--models", str(models), "--name", name, "--rest-port", "0", "--grpc-port", "0",
        *options,
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


@dataclass(frozen=True)
class Measured:
    """Calls of one kind.

    Attributes:
        times: seconds of each.
        client: CPU seconds of the clients' process per call.
        server: CPU seconds of the server per call; of all kinds together, if they came in turn.
    """

    times: Times
    client: float
    server: float


class Bench:
    """One server, and the measurements of it."""

    def __init__(
        self, version: Path, name: str, seconds: float, server: Served, requests: Path
    ) -> None:
        """Prepares the requests.

        Args:
            version: folder of the version that answers.
            name: of the model.
            seconds: of each measurement.
            server: the server.
            requests: empty folder for the requests.
        """
        _clients("prepare", version, name, requests)
        self._requests = requests
        self._version = version
        self._name = name
        self._seconds = seconds
        self._server = server

    def measure_in_turn(self) -> dict[str, Measured]:
        """Makes each request in all ways, one after another, and returns what was measured."""
        ports = [str(port) for port in self._server.ports]
        return self._measure("in turn", self._version, self._seconds, *ports, self._name)

    def measure(self, kind: str, count: int) -> Measured:
        """Makes calls of one kind by several clients, and returns what was measured."""
        rest, grpc = self._server.ports
        port = rest if kind.startswith("REST") else grpc
        return self._measure(kind, self._seconds, port, self._requests, count)[kind]

    def _measure(self, *given: object) -> dict[str, Measured]:
        before = cpu_seconds(self._server.pid)
        output = _clients(*given)
        used = cpu_seconds(self._server.pid) - before

        found = json.loads(output)
        calls = sum(part["calls"] for part in found.values())
        return {
            name: Measured(part["times"], part["cpu"] / part["calls"], used / calls)
            for name, part in found.items()
        }

    def one_client(self, repeat: int) -> None:
        """Prints times beside a direct call of the SavedModel."""
        parts = [self.measure_in_turn() for _ in range(repeat)]
        _print_row("one client, in turn", "p50 ms", "p99 ms", "above direct", "client CPU ms")
        _print_row("---", *["--:"] * 4)
        for kind in parts[0]:
            p50, p99 = (
                statistics.median(percentile(part[kind].times, share) for part in parts)
                for share in (0.5, 0.99)
            )
            above = statistics.median(
                percentile(part[kind].times, 0.5) - percentile(part["direct"].times, 0.5)
                for part in parts
            )
            client = statistics.median(part[kind].client * 1e3 for part in parts)
            _print_row(kind, f"{p50:.2f}", f"{p99:.2f}", f"{above:+.2f}", f"{client:.2f}")
        print(flush=True)

    def many_clients(self, clients: Sequence[int], repeat: int) -> None:
        """Prints times and rates of many clients beside those of one."""
        _print_row(
            "clients", "", "p50 ms", "p99 ms", "predictions/s", "of one client",
            "client CPU ms", "server CPU ms",
        )  # fmt: skip
        _print_row("--:", "---", *["--:"] * 6)
        kinds = ("gRPC by hand", "REST by hand", "gRPC by grpcio")
        # In turn, so that other load on the machine affects all kinds alike.
        parts: dict[tuple[str, int], list[Measured]] = {}
        for count in clients:
            for kind in kinds * repeat:
                parts.setdefault((kind, count), []).append(self.measure(kind, count))

        for kind in kinds:
            one = self._rate(parts[kind, clients[0]])
            for count in clients:
                found = parts[kind, count]
                p50 = statistics.median(percentile(part.times, 0.5) for part in found)
                p99 = statistics.median(percentile(part.times, 0.99) for part in found)
                client = statistics.median(part.client * 1e3 for part in found)
                server = statistics.median(part.server * 1e3 for part in found)
                rate = self._rate(found)
                _print_row(
                    str(count), kind, f"{p50:.2f}", f"{p99:.2f}", f"{rate:,.0f}",
                    f"{rate / one:.1f}", f"{client:.2f}", f"{server:.2f}",
                )  # fmt: skip
        print(flush=True)

    def _rate(self, parts: Sequence[Measured]) -> float:
        return statistics.median(len(part.times) / self._seconds for part in parts)

    def reload(self, clients: int, versions: int) -> None:
        """Pushes versions while clients ask; ends the run if a request fails."""
        newest = int(self._version.name)
        answered: list[Measured] = []
        asking = threading.Thread(
            target=lambda: answered.append(self.measure("gRPC by hand", clients))
        )
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
        p99 = percentile(answered[0].times, 0.99)
        count = len(answered[0].times)
        print(f"{pushed} versions pushed under load: {count} requests, none lost, p99 {p99:.0f} ms")


def cpu_seconds(pid: int) -> float:
    """Returns the CPU seconds that a process has taken (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _clients(*given: object) -> bytes:
    """Returns what `benchmarks.serving_clients` prints, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serving_clients", *map(str, given)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return done.stdout


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _print_machine() -> None:
    print(f"{describe_machine()}, load {os.getloadavg()[0]:.1f}\n")


def newest_version(models: Path) -> Path:
    """Returns the folder of the newest version below a model's folder."""
    return list(find_versions(models).paths.values())[-1]


def main(models: Path, name: str, seconds: float, clients: Sequence[int], repeat: int) -> None:
    """Prints milliseconds and ratios; uses a copy of the model, as it pushes versions."""
    newest = newest_version(models)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as requests:
        version = Path(shutil.copytree(newest, Path(folder, newest.name)))
        with serving(Path(folder), name) as server:
            bench = Bench(version, name, seconds, server, Path(requests))
            _print_machine()
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
