"""Why a job on Flink failed, in words: our own errors as if they were raised in the node."""

from __future__ import annotations

import re

from components.command.escape import shorten
from components.errors import MasteryError
from components.node.flink.cluster import FlinkError

# What the SDK worker reports: a traceback, the error, and the step that ran.
_IN_WORKER = re.compile(
    r"^(?P<kind>[A-Za-z_][\w.]*): (?P<text>.*?)"
    r"(?: \[while running '(?P<step>.*?)'\]|\Z|\n\n|\n\tat )",
    re.DOTALL | re.MULTILINE,
)
_TRACEBACK = "Traceback (most recent call last):"
_JAVA = re.compile(r"^(?:Caused by: )?(?P<kind>(?:\w+\.)+\w+): (?P<text>.*)$", re.MULTILINE)
_LONGEST = 500  # characters of another's text
# What Flink says, and what to do about it.
_ADVICE = {
    "Insufficient number of network buffers": (
        "Give TaskManagers more memory for exchanges, and each exchange less of it: "
        "taskmanager.memory.network.fraction, taskmanager.network.sort-shuffle.min-buffers"
    ),
    "NoResourceAvailableException": "Start TaskManagers, or lower beam.parallelism",
    "Could not acquire the minimum required resources": (
        "Start TaskManagers, or lower beam.parallelism"
    ),
    "OutOfMemoryError": "Give TaskManagers more memory (taskmanager.memory.process.size)",
    "No client connected within timeout": (
        "An SDK worker ended early: look at what `mastery beam-workers` prints"
    ),
    "Recovery is suppressed by NoRestartBackoffTimeStrategy": (
        "If a TaskManager was lost, start it again; with restart-strategy.type in the cluster's "
        "configuration jobs survive that"
    ),
}


def explain_failure(text: str, job: str, page: str) -> MasteryError:
    """Returns the error of a job that failed.

    Args:
        text: what Beam's job server says: an error of Java, with that of the SDK worker inside.
        job: its name.
        page: the address of the cluster's page.

    Returns:
        An error of ours with the worker's text, if it was one; else a sentence with the last error.
    """
    if _TRACEBACK in text:
        return _of_worker(text.rpartition(_TRACEBACK)[2], job, page)

    found = [*_JAVA.finditer(text)]
    reason = found[-1]["text"] if found else text.strip().partition("\n")[0]
    advice = next((advice for said, advice in _ADVICE.items() if said in text), None)
    where = advice or "See its log, or the page"
    return FlinkError(f"Flink job {job} failed: {shorten(reason, _LONGEST)}. {where}: {page}.")


def _of_worker(text: str, job: str, page: str) -> MasteryError:
    found = _IN_WORKER.search(text)
    if found is None:
        return FlinkError(f"Flink job {job} failed in an SDK worker. See its log, or {page}.")
    if found["kind"].startswith("components.errors."):
        return MasteryError(found["text"].strip())

    kind = found["kind"].rpartition(".")[2]
    first = found["text"].strip().partition("\n")[0]
    step = f", in its step {found['step']}" if found["step"] else ""
    return FlinkError(
        f"Flink job {job} failed{step}: {kind}: {shorten(first, _LONGEST)}. If a file is missing, "
        f"SDK workers need the folder that the run is in, at the same path. See its log, or {page}."
    )
