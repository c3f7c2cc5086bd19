"""The runner of a node's pipelines on Flink: waits for slots, submits, watches, and cancels."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineState

from components.config.beam import FLINK_JOB, Beam
from components.files.atomic import open_regular
from components.node.beam_patches import patch_beam
from components.node.flink.cluster import Cluster, FlinkError, Job
from components.node.flink.failures import explain_failure
from components.node.progress import report_progress

_LOOK = 1.0  # seconds between two looks at a job
_SILENCE = 30.0  # seconds without an answer until the JobManager counts as lost
_PATIENCE = 600.0  # seconds to wait for slots that other jobs have
_LOGGER = logging.getLogger(__name__)


def make_runner() -> FlinkRunner:
    """Returns the runner; the environment says which cluster, see `Beam.as_environment`."""
    patch_beam()
    return FlinkRunner()


class FlinkRunner(PortableRunner):  # type: ignore[misc]
    """Runs a pipeline on a Flink cluster to its end; the job never outlives the node.

    The jobs of a run take turns, so that each has all slots that `beam.parallelism` asks for.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        """Runs a pipeline to its end.

        Raises:
            FlinkError: the cluster, the job server or the job failed.
            MasteryError: what a function of the pipeline raised, if that was one of ours.
        """
        engine = Beam().with_environment(os.environ)
        if engine.flink_master is None:
            raise FlinkError("this process was not told of a Flink cluster; set beam.flink_master.")
        cluster = Cluster(engine.flink_master)
        unnamed = f"mastery-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
        name = os.environ.get(FLINK_JOB, unnamed)

        with _turn(), _cancelled_if_left(cluster, name):
            _wait_for_slots(cluster, name, engine.parallelism)
            _set_options(options, engine, name, cluster)
            try:
                job = super().run_pipeline(pipeline, options)
            except (grpc.RpcError, grpc.FutureTimeoutError) as error:
                raise FlinkError(
                    f"Beam's job server at {engine.flink_job_server} does not answer "
                    f"({type(error).__name__}). Its log is job-server.log in the run's folder, if "
                    "the run has started it."
                ) from None
            _watch(job, cluster, name)
        return _Done(PipelineState.DONE)


class _Done(PipelineResult):  # type: ignore[misc]
    """The result of a job that has ended well."""

    def wait_until_finish(self, duration: int | None = None) -> str:  # noqa: ARG002
        state: str = self.state
        return state


def _set_options(options: PipelineOptions, engine: Beam, name: str, cluster: Cluster) -> None:
    portable = options.view_as(PortableOptions)
    portable.job_endpoint = engine.flink_job_server
    if engine.sdk_workers is None:
        portable.environment_type = "LOOPBACK"
    else:
        portable.environment_type = "EXTERNAL"
        portable.environment_config = engine.sdk_workers
        slots = cluster.slots()
        each = -(-slots.total // max(slots.machines, 1))
        portable.sdk_worker_parallelism = max(1, min(each, engine.parallelism))
    flink = options.view_as(FlinkRunnerOptions)
    flink.flink_master = cluster.page
    flink.parallelism = engine.parallelism
    options.view_as(GoogleCloudOptions).job_name = name


def _end_if_ours(cluster: Cluster, job: Job) -> None:
    """Raises an error of ours that tasks have raised: it would be the same at the next try."""
    if job.state == "RESTARTING":
        text = cluster.failure(job)
        if "\ncomponents." in text:
            raise explain_failure(text, job.name, cluster.page)


@contextmanager
def _turn() -> Iterator[None]:
    """Lets one job of a run go on at a time; nodes that run side by side share the folder.

    Without a run it is the system's folder, which other users share, too.
    """
    with open_regular(Path(tempfile.gettempdir(), f"mastery-flink-{os.getuid()}.lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report_progress("waits for another node's Flink job")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait_for_slots(cluster: Cluster, name: str, wanted: int) -> None:
    """Waits until a job can start at once; slots of a job that has just ended are freed late."""
    deadline = time.monotonic() + _PATIENCE
    reported = ""
    while True:
        slots = cluster.slots()
        if slots.grow or slots.free >= wanted:
            return
        found = f"{slots.free} of {slots.total} task slots are free at {cluster.page}"
        if time.monotonic() > deadline:
            raise FlinkError(f"Flink job {name} needs {wanted} task slots, and {found}.")
        if found != reported:
            report_progress(f"Flink: waits for {wanted} task slots, {found}")
        reported = found
        time.sleep(_LOOK)


@contextmanager
def _cancelled_if_left(cluster: Cluster, name: str) -> Iterator[None]:
    """Cancels the job if the block is left by an exception: Ctrl-C, for example."""
    try:
        yield
    except BaseException:
        with suppress(FlinkError):  # it does not answer, or nothing runs
            cluster.cancel(name)
        raise


def _watch(result: Any, cluster: Cluster, name: str) -> None:
    """Waits until a job has ended, and reports its progress.

    Raises:
        FlinkError: it failed, or the JobManager is gone.
        MasteryError: as `FlinkRunner.run_pipeline`.
    """
    failures: list[Exception] = []

    def wait() -> None:
        try:
            result.wait_until_finish()
        except Exception as error:
            failures.append(error)

    waiting = threading.Thread(target=wait, daemon=True, name="wait-for-flink")
    waiting.start()
    heard = time.monotonic()
    reported: object = None
    while waiting.is_alive():
        waiting.join(_LOOK)
        try:
            jobs = cluster.jobs(name)
        except FlinkError as error:
            if time.monotonic() - heard > _SILENCE:
                raise FlinkError(
                    f"Flink job {name} was lost: for {_SILENCE:.0f} s {error}"
                ) from None
            continue
        heard = time.monotonic()
        for job in jobs:
            _end_if_ours(cluster, job)
            line = (
                f"Flink job {name}: {job.state.lower()}, {job.finished} of {job.tasks} tasks; "
                f"{cluster.page}/#/job/{job.id}"
            )
            step = job.state, job.finished * 10 // max(job.tasks, 1)
            if step != reported:  # a line for each tenth
                report_progress(line)
                _LOGGER.info("%s", line)
            reported = step

    if failures:
        raise explain_failure(str(failures[0]), name, cluster.page) from failures[0]
