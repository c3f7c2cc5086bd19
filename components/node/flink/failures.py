"""Why a job on Flink failed, in words: our own errors as if they were raised in the node."""

from __future__ import annotations

import re

from components.command.escape import shorten
from components.errors import MasteryError
from components.node.flink.cluster import FlinkError

# What an SDK worker reports: tracebacks of an error and of those that followed. Beam raises
# the last one, a copy with the step's name; a copy of ours has another text.
_TRACEBACK = "Traceback (most recent call last):"
_NEXT = re.compile(
    r"\n\n(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):\n\n"
)
_ERROR = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?", re.DOTALL | re.MULTILINE)
_STEP = re.compile(r" \[while running '(.*?)'\]")
_OURS = "components."
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
        return _of_worker(text.partition(_TRACEBACK)[2], job, page)

    found = [*_JAVA.finditer(text)]
    reason = found[-1]["text"] if found else text.strip().partition("\n")[0]
    advice = next((advice for said, advice in _ADVICE.items() if said in text), None)
    where = advice or "See its log, or the page"
    return FlinkError(f"Flink job {job} failed: {shorten(reason, _LONGEST)}. {where}: {page}.")


def _of_worker(text: str, job: str, page: str) -> MasteryError:
    tracebacks = _NEXT.split(text.partition("\n\tat ")[0])
    errors = [error for item in tracebacks if (error := _ERROR.search(item, item.find("\n  ")))]
    own = errors[:-1] or errors  # without Beam's copy
    if not own:
        return FlinkError(f"Flink job {job} failed in an SDK worker. See its log, or {page}.")

    ours = [error for error in own if error["kind"].startswith(_OURS)]
    if ours:
        return MasteryError(_STEP.sub("", ours[-1]["text"] or "").strip())

    kind = own[-1]["kind"].rpartition(".")[2]
    first = _STEP.sub("", own[-1]["text"] or "").strip().partition("\n")[0]
    step = _STEP.search(text)
    where = f", in its step {step[1]}" if step else ""
    return FlinkError(
        f"Flink job {job} failed{where}: {kind}: {shorten(first, _LONGEST)}. If a file is missing, "
        f"SDK workers need the folder that the run is in, at the same path. See its log, or {page}."
    )
