"""Measures what attackers on this machine can do to the embedded server and its other clients.

.venv/bin/python -m benchmarks.attacks --models runs/sample/serving [--seconds 8] [--only silent]

For each attack it prints the latency of a well-behaved client before and during the attack, how
many of its requests failed, and the most memory that the server takes, together with the process
that reads JSON, beyond what it took before the first attack. The server may open 1,024 files.
Attacks run at the lowest priority, so they get the time that the server leaves. On a busy machine,
ratios say little: the load is printed with them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attack_kinds import ATTACKS, TOKEN, AttackedServer, run_attack
from benchmarks.serving import Served, newest_version, percentile, serving

DESCRIPTORS = 1024

Asked = tuple[float, float, str | None]  # when, seconds, error


@dataclass(frozen=True)
class Window:
    """When an attack ran, and what it cost.

    Attributes:
        quiet: when the quiet time before it began.
        began: when it began.
        ended: when it ended.
        memory: MiB that the server took beyond what it had.
    """

    quiet: float
    began: float
    ended: float
    memory: float


def memory_of(pid: int) -> float:
    """Returns the MiB of a process and of those that it started."""
    total = 0.0
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            total += sum(memory_of(int(child)) for child in path.read_text().split())
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def main(models: Path, name: str, seconds: float, only: Sequence[str]) -> None:
    """Runs the attacks one after another, and prints a line per attack."""
    with serving(models, name, DESCRIPTORS, TOKEN) as server:
        client = _start_client(newest_version(models), name, server)
        time.sleep(2)

        before = memory_of(server.pid)
        windows = {}
        for attack in only or ATTACKS:
            windows[attack] = _measure(attack, name, server, seconds, before)
            load = os.getloadavg()[0]
            print(f"{attack:22} memory {windows[attack].memory:+.0f} MiB, load {load:.1f}")

        asked: list[Asked] = json.loads(client.communicate()[0])
        server.log.seek(0)
        logged = len(server.log.read())

    print(f"{'':22} quiet p50  p99   attack p50  p99  ratio  failed  memory")
    for attack, window in windows.items():
        _print_figures(attack, window, asked)
    print(f"{logged} bytes were logged")


def _start_client(version: Path, name: str, server: Served) -> subprocess.Popen[bytes]:
    """Starts the well-behaved client, and waits until it sends requests."""
    ports = map(str, server.ports)
    command = [sys.executable, "-m", "benchmarks.behaving_client", str(version), name, *ports]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    client = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert client.stdout is not None
    client.stdout.readline()  # it imports TensorFlow first
    return client


def _measure(attack: str, name: str, server: Served, seconds: float, before: float) -> Window:
    """Waits for a quiet time, then runs an attack."""
    quiet = time.monotonic()
    time.sleep(seconds)

    spawn = multiprocessing.get_context("spawn")
    target = AttackedServer(name, server.ports, seconds + 2)
    count = ATTACKS[attack][1]
    processes = [spawn.Process(target=run_attack, args=(attack, target)) for _ in range(count)]
    began = time.monotonic()
    for process in processes:
        process.start()
    most = 0.0
    while time.monotonic() < began + seconds + 2:
        most = max(most, memory_of(server.pid))
        time.sleep(0.2)
    ended = time.monotonic()

    for process in processes:
        process.join(20)
        process.kill()
    time.sleep(2)
    return Window(quiet, began, ended, most - before)


def _print_figures(attack: str, window: Window, asked: Sequence[Asked]) -> None:
    before = [took for at, took, _ in asked if window.quiet <= at < window.began]
    during = [(took, error) for at, took, error in asked if window.began <= at < window.ended]
    times = [took for took, _ in during]
    errors = [error for _, error in during if error]

    quiet50, quiet99 = (percentile(before, share) for share in (0.5, 0.99))
    attack50, attack99 = (percentile(times, share) for share in (0.5, 0.99))
    print(
        f"{attack:22} {quiet50:8.1f} {quiet99:6.1f} {attack50:10.1f} {attack99:6.1f} "
        f"{attack99 / quiet99:6.1f} {len(errors):4} of {len(times):3} "
        f"{window.memory:+6.0f} MiB {errors[:1]}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--name", default="sample")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", nargs="+", default=[], choices=sorted(ATTACKS))
    given = parser.parse_args()
    main(given.models, given.name, given.seconds, given.only)
