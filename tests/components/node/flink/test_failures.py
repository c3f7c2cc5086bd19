"""What Beam's job server says of a failed job, in words for the user."""

from __future__ import annotations

import pytest

from components.errors import MasteryError
from components.node.flink.cluster import FlinkError
from components.node.flink.failures import explain_failure

JOB, PAGE = "mastery-sample-ExampleGen-1", "http://flink.test:8081"

# As a TaskManager reported it; lines of the frames are left out.
WORKER = """Pipeline {job} failed in state FAILED: java.lang.RuntimeException: Error received from \
SDK harness for instruction 2: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "steps/boom.py", line 11, in boom
    raise {raised}
{error}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/worker/sdk_worker.py", line 310, in _execute
    response = task()
               ^^^^^^
{copy} [while running 'Read']

	at java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)
	at java.base/java.lang.Thread.run(Thread.java:840)"""


def worker_says(error: str, copy: str) -> str:
    return WORKER.format(job=JOB, raised="it", error=error, copy=copy)


def test_an_error_of_ours_has_the_text_that_it_has_in_memory() -> None:
    text = worker_says(
        "components.errors.LogError: The log has 2 problems:\n  - a.csv, row 3: expected a time\n"
        "  - a.csv, row 4: expected a time",
        "components.errors.LogError: The log has 2 problems:\n  - T\n  - h",
    )
    error = explain_failure(text, JOB, PAGE)
    assert not isinstance(error, FlinkError)
    assert isinstance(error, MasteryError)
    assert str(error) == (
        "The log has 2 problems:\n  - a.csv, row 3: expected a time\n"
        "  - a.csv, row 4: expected a time"
    )


def test_another_error_is_a_sentence_with_its_step_and_what_to_look_for() -> None:
    missing = "FileNotFoundError: [Errno 2] No such file or directory: '/runs/a'"
    error = explain_failure(worker_says(missing, missing), JOB, PAGE)
    assert str(error).startswith(f"Flink job {JOB} failed, in its step Read: {missing}. ")
    assert "SDK workers need the folder that the run is in, at the same path" in str(error)
    assert "Traceback" not in str(error)
    assert "java" not in str(error)


@pytest.mark.parametrize(
    ("text", "says", "advice"),
    [
        (
            "Pipeline a failed in state FAILED: java.io.IOException: Insufficient number of "
            "network buffers: required 512, but only 315 available.",
            "required 512, but only 315 available",
            "taskmanager.network.sort-shuffle.min-buffers",
        ),
        (
            "org.apache.flink.runtime.JobException: Recovery is suppressed by "
            "NoRestartBackoffTimeStrategy\n\tat a.b(C.java:1)\nCaused by: "
            "org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager with id w-0 is no "
            "longer reachable.",
            "TaskManager with id w-0 is no longer reachable",
            "restart-strategy.type",
        ),
        ("Pipeline a failed in state CANCELLED: unknown error", "state CANCELLED", PAGE),
    ],
)
def test_an_error_of_flink_is_its_last_cause_with_advice(text: str, says: str, advice: str) -> None:
    error = str(explain_failure(text, JOB, PAGE))
    assert error.startswith(f"Flink job {JOB} failed: ")
    assert says in error
    assert advice in error
    assert "\n" not in error
