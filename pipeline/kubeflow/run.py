"""Starts a run on the cluster, and follows it to its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

from components.command.console import PlainConsole
from components.config import Config
from pipeline.kubeflow.client import Cluster
from pipeline.kubeflow.display import print_task
from pipeline.kubeflow.errors import KubeflowError
from pipeline.kubeflow.status import ENDED, RunStatus, read_status, task_names
from pipeline.kubeflow.submit import Submission, find_or_create_experiment
from pipeline.run.record import new_run_id

PAUSE = 5.0  # seconds between two looks at a run
PATIENCE = 24  # looks in a row that may fail before following ends


def start_run(
    cluster: Cluster, config: Config, submission: Submission, parameters: dict[str, Any]
) -> str:
    """Starts a run of a submitted pipeline and returns its ID.

    Args:
        cluster: where to.
        config: says the experiment, the service account and the run's name.
        submission: the version to run.
        parameters: values of the pipeline's parameters, typed; those left out have their defaults.

    Raises:
        KubeflowError: the cluster refused or went away.
    """
    experiment_id = find_or_create_experiment(cluster, config)
    with cluster.explained():
        run = cluster.client.run_pipeline(
            experiment_id,
            f"{config.name}-{new_run_id()}",
            params=parameters,
            pipeline_id=submission.pipeline_id,
            version_id=submission.version_id,
            service_account=config.kubeflow.service_account,
        )
    return str(run.run_id)


def follow_run(cluster: Cluster, run_id: str, file: Path, console: PlainConsole) -> RunStatus:
    """Prints a line whenever a task's state changes, until the run has ended, and returns how.

    `kfp.Client.wait_for_run_completion` would wait for ever where a run is cancelled, and give up at the first
    request that fails.

    Args:
        cluster: where the run is.
        run_id: its ID.
        file: the compiled pipeline; it names the tasks.
        console: what to print on.

    Raises:
        KubeflowError: the cluster refuses, or did not answer for `PATIENCE` looks; the run itself goes on.
    """
    names = task_names(next(yaml.safe_load_all(file.read_text(encoding="utf-8"))))
    shown: dict[str, str] = {}
    failures = 0
    while True:
        try:
            run = read_status(cluster, run_id, names)
            failures = 0
        except KubeflowError as error:
            failures += 1
            if not error.passing or failures > PATIENCE:
                raise
            time.sleep(PAUSE)
            continue
        for task in run.tasks:
            if task.state != shown.get(task.name, "PENDING"):
                shown[task.name] = task.state
                print_task(task, console)
        if run.state in ENDED:
            return run
        time.sleep(PAUSE)
