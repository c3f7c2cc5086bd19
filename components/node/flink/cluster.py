"""What a Flink cluster says of itself, and the end of jobs: by the JobManager's REST interface."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.errors import MasteryError

_TIMEOUT = 10.0  # seconds to wait for an answer
_PATIENCE = 20.0  # seconds until a job that is cancelled has ended
_ENDED = ("CANCELED", "FAILED", "FINISHED")
# Clusters are on this machine or in its network: no proxy for the web leads to them.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class FlinkError(MasteryError):
    """A Flink cluster, its job server or a job on it failed."""


@dataclass(frozen=True)
class Slots:
    """The task slots of a cluster.

    Attributes:
        machines: the TaskManagers.
        total: slots of all of them.
        free: slots without a job.
        grow: whether the cluster starts TaskManagers as jobs need them.
        restarts: whether tasks that lost a TaskManager start again.
        version: of Flink.
    """

    machines: int
    total: int
    free: int
    grow: bool
    restarts: bool
    version: str


@dataclass(frozen=True)
class Job:
    """A job on a cluster.

    Attributes:
        id: which Flink gave it.
        name: which we gave it.
        state: such as RUNNING.
        finished: how many of its tasks have ended well.
        tasks: how many it has.
    """

    id: str
    name: str
    state: str
    finished: int
    tasks: int

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.state in _ENDED


class Cluster:
    """A Flink cluster.

    Args:
        master: host:port of the JobManager's REST interface.
    """

    def __init__(self, master: str) -> None:
        self.master = master

    @property
    def page(self) -> str:
        """The address of its page for people."""
        return f"http://{self.master}"

    def slots(self) -> Slots:
        """Returns its task slots.

        Raises:
            FlinkError: it does not answer, or is no Flink cluster.
        """
        try:
            return self._slots()
        except (KeyError, TypeError, ValueError):
            raise FlinkError(self._unusable("what answers there is no JobManager")) from None

    def _slots(self) -> Slots:
        said = self._ask("overview")
        settings = {item["key"]: item["value"] for item in self._ask("jobmanager/config")}
        target = str(settings.get("execution.target", ""))
        restarts = settings.get("restart-strategy.type", settings.get("restart-strategy", "none"))
        return Slots(
            machines=int(said["taskmanagers"]),
            total=int(said["slots-total"]),
            free=int(said["slots-available"]),
            grow=target.startswith(("kubernetes-", "yarn-")),
            restarts=restarts not in ("none", "off", "disable"),
            version=str(said["flink-version"]),
        )

    def jobs(self, name_ends: str) -> list[Job]:
        """Returns the jobs whose names end in a text, also those that have ended lately.

        Raises:
            FlinkError: it does not answer.
        """
        return [job for job in self._jobs() if job.name.endswith(name_ends)]

    def failure(self, job: Job) -> str:
        """Returns the latest error of a job's tasks, after which Flink may start them again.

        Raises:
            FlinkError: it does not answer.
        """
        said = self._ask(f"jobs/{job.id}/exceptions")["exceptionHistory"]["entries"]
        return str(said[0].get("stacktrace", "")) if said else ""

    def cancel(self, name_ends: str) -> list[Job]:
        """Cancels the jobs whose names end in a text, and waits until they have ended.

        Raises:
            FlinkError: it does not answer, or a job does not end.
        """
        running = [job for job in self.jobs(name_ends) if not job.has_ended]
        for job in running:
            self._ask(f"jobs/{job.id}", method="PATCH")

        deadline = time.monotonic() + _PATIENCE
        while left := [job.id for job in self.jobs(name_ends) if not job.has_ended]:
            if time.monotonic() > deadline:
                raise FlinkError(
                    f"Flink job {left[0]} was cancelled and still runs after {_PATIENCE:.0f} s; "
                    f"look at {self.page}/#/job/{left[0]}."
                )
            time.sleep(0.2)
        return running

    def _jobs(self) -> Iterator[Job]:
        for said in self._ask("jobs/overview")["jobs"]:
            tasks, finished = said["tasks"]["total"], said["tasks"]["finished"]
            yield Job(said["jid"], said["name"], said["state"], int(finished), int(tasks))

    def _ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.page}/{path}", method=method)
        try:
            with _OPENER.open(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if method == "PATCH" and error.code in (404, 409):  # it has ended meanwhile
                return None
            raise FlinkError(self._unusable(f"it answered {error.code} to /{path}")) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            text = getattr(reason, "strerror", None) or str(reason)
            raise FlinkError(self._unusable(text)) from None

    def _unusable(self, reason: str) -> str:
        return (
            f"no Flink cluster answers at {self.page} ({reason}). Start its JobManager, or set "
            "beam.flink_master to host:port of its REST interface."
        )
