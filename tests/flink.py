"""A Flink cluster for tests, and Beam's job server for it, from Maven's packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.debian import one_process, unpacked_with_dependencies
from tests.ports import START, free_port

POM = Path(__file__).with_name("flink-pom.xml")  # its versions are pinned; Maven checks checksums
WHY = "the tests on Flink need a cluster"
LEAST_JAVA = 17
SLOTS = 2  # of each task manager
PATIENCE = 600  # seconds until a job must run, even on a busy machine

# Flink and its serializers look into Java's own classes.
_OPENED = ("lang", "net", "nio", "time", "util", "util.concurrent", "util.concurrent.atomic")
# What Flink's scripts would work out from the size of the process, for a small log.
_MEMORY = {
    "cpu.cores": f"{SLOTS}.0",
    "memory.framework.heap.size": "128m",
    "memory.task.heap.size": "256m",
    "memory.managed.size": "160m",
    "memory.framework.off-heap.size": "128m",
    "memory.task.off-heap.size": "0m",
    "memory.network.min": "128m",
    "memory.network.max": "128m",
    "memory.jvm-metaspace.size": "256m",
    "memory.jvm-overhead.min": "192m",
    "memory.jvm-overhead.max": "192m",
    "numberOfTaskSlots": str(SLOTS),
}
_NONE: Mapping[str, object] = {}


@dataclass(frozen=True)
class Programs:
    """What a cluster is made of.

    Attributes:
        java: Java's program.
        library: the folder with Flink's jars.
        job_server: Beam's job server, one jar.
    """

    java: Path
    library: Path
    job_server: Path


def find_programs(cache: Path) -> Programs:
    """Returns the programs: Java as installed or from packages, the others from Maven's."""
    java = find_java(cache)
    root = cache / "maven"
    with one_process(cache), TemporaryDirectory(dir=cache) as folder:
        if not root.exists():
            for profile in ("cluster", "job-server"):
                _build(profile, java, Path(folder, "maven"))
            Path(folder, "maven").rename(root)
    return Programs(java, root / "lib", root / "job-server.jar")


def find_java(cache: Path) -> Path:
    """Returns `java`: the installed one if it is new enough, else one from packages."""
    installed = shutil.which("java")
    if installed and _java_version(installed) >= LEAST_JAVA:
        return Path(installed)
    (cache / "java").mkdir(exist_ok=True)
    package = f"openjdk-{LEAST_JAVA}-jre-headless"
    root = unpacked_with_dependencies(cache / "java", [package], why=f"{WHY}, and no java is new")
    [java] = root.glob("usr/lib/jvm/java-*-openjdk-*/bin/java")
    return java


def _java_version(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found[1]) if found else 0


def _build(profile: str, java: Path, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        pytest.skip(f"{WHY}, and there is no mvn to fetch it with")
    done = subprocess.run(
        [maven, "-q", "-B", "--strict-checksums", "-f", str(POM), f"-P{profile}",
         f"-Dfolder={folder}", "package"],
        env={**os.environ, "JAVA_HOME": str(java.resolve().parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{WHY}, and Maven says: {done.stdout[-2000:]}")


@dataclass
class Cluster:
    """A running JobManager with its TaskManagers.

    Attributes:
        programs: what it runs.
        folder: its configuration and logs.
        port: of its REST interface.
        manager: the JobManager.
        workers: the TaskManagers, in the order in which they were started.
    """

    programs: Programs
    folder: Path
    port: int
    manager: subprocess.Popen[bytes] = field(init=False)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """What `beam.flink_master` is set to."""
        return f"localhost:{self.port}"

    def ask(self, path: str) -> Any:
        """Returns what the REST interface says."""
        with urllib.request.urlopen(f"http://{self.address}/{path}", timeout=10) as answer:
            return json.load(answer)

    def start_manager(self) -> None:
        """Starts the JobManager."""
        name = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self.manager = self._start("manager", name, ["-Xmx512m"], [])

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Starts another TaskManager."""
        name = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        java = ["-Xmx384m", "-XX:MaxDirectMemorySize=256m", "-XX:MaxMetaspaceSize=256m"]
        options = [f"-Dtaskmanager.{key}={value}" for key, value in _MEMORY.items()]
        own = f"worker-{len(self.workers)}"
        options.append(f"-Dtaskmanager.resource-id={own}")
        worker = self._start(own, name, java, options)
        self.workers.append(worker)
        return worker

    def busy_worker(self) -> subprocess.Popen[bytes]:
        """Returns a TaskManager that runs tasks."""
        said = self.ask("taskmanagers")["taskmanagers"]
        busy = next(item["id"] for item in said if item["freeSlots"] < item["slotsNumber"])
        return self.workers[int(busy.partition("-")[2])]

    def jobs(self) -> dict[str, str]:
        """Returns the states of all jobs, by their names."""
        return {item["name"]: item["state"] for item in self.ask("jobs/overview")["jobs"]}

    def wait_for_job(self, node: str, process: subprocess.Popen[str]) -> None:
        """Waits until some tasks of a node's job have ended, and others run."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            for job in self.ask("jobs/overview")["jobs"]:
                if f"-{node}-" in job["name"] and job["tasks"]["running"]:
                    return
            time.sleep(0.1)
        raise AssertionError(f"no job of {node} ran within {PATIENCE} s: {self.jobs()}")

    def wait_for_slots(self, slots: int) -> None:
        """Waits until the cluster has exactly so many slots, and all of them are free."""
        deadline = time.monotonic() + 2 * START
        said: object = None
        while time.monotonic() < deadline:
            try:
                said = self.ask("overview")
            except OSError as error:
                said = error
            else:
                if said["slots-total"] == said["slots-available"] == slots:
                    return
            time.sleep(0.2)
        logs = [file.read_text(errors="replace")[-3000:] for file in self.folder.glob("*.log")]
        raise AssertionError(f"the cluster did not get {slots} free slots ({said}): {logs}")

    def stop(self) -> None:
        """Ends all processes."""
        for process in (*self.workers, self.manager):
            process.kill()
            process.wait()

    def _start(
        self, name: str, entry: str, java: list[str], options: list[str]
    ) -> subprocess.Popen[bytes]:
        opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [str(self.programs.java), *opened, *java, "-cp", f"{self.programs.library}/*",
                 entry, "--configDir", str(self.folder), *options],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip


@contextmanager
def serve(
    programs: Programs, folder: Path, *, workers: int = 2, others: Mapping[str, object] = _NONE
) -> Iterator[Cluster]:
    """Runs a cluster until the block ends.

    Args:
        programs: what it runs.
        folder: an empty folder for its configuration and logs.
        workers: how many TaskManagers it has at first, each with `SLOTS` slots.
        others: options of Flink, in place of those here.
    """
    cluster = Cluster(programs, folder, free_port())
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": free_port(),
        "jobmanager.bind-host": "localhost",
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "localhost",
        "rest.port": cluster.port,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        # Without this, each exchange of each slot would claim 16 MiB of buffers.
        "taskmanager.network.sort-shuffle.min-buffers": 16,
        # A job that loses a TaskManager goes on; else it would fail. Each task that fails is an
        # attempt for the strategy fixed-delay; this one takes those at the same time for one.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "2 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": 8,
        # A lost TaskManager is noticed in seconds, not in a minute.
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 8000,
        "io.tmp.dirs": str(folder / "tmp"),
        **others,
    }
    (folder / "tmp").mkdir()
    lines = [f"{key}: {value}" for key, value in settings.items()]
    (folder / "config.yaml").write_text("\n".join(lines) + "\n")

    with ExitStack() as stack:
        cluster.start_manager()
        stack.callback(cluster.stop)
        cluster.wait_for_slots(0)  # a TaskManager that comes earlier waits for 10 s
        for _ in range(workers):
            cluster.start_worker()
        cluster.wait_for_slots(workers * SLOTS)
        yield cluster
