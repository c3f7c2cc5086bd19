"""Mastery on Airflow 3: one DAG looks for new spans of logs, the other trains on them.

Copy this file into Airflow's folder of DAGs. It needs Airflow and its standard provider only: each
task is a process of Mastery's own environment, by the program that runs nodes in containers.

Variables of the environment of Airflow's workers, schedulers and DAG processors:

- `MASTERY_HOME`: the folder in which `make setup` was run.
- `MASTERY_CONFIGS`: the configurations, as paths separated by colons.
- `MASTERY_ROOT`: the folder that keeps every run; all workers see it.
- `MASTERY_LOOK`: when to look for new spans, as cron fields; default: every quarter of an hour.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import (
    Asset,
    AssetAlias,
    AssetAny,
    BaseOperator,
    TriggerRule,
    dag,
    get_current_context,
    task,
    task_group,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

HOME = Path(os.environ.get("MASTERY_HOME", "/opt/mastery"))
ROOT = Path(os.environ.get("MASTERY_ROOT", "/var/lib/mastery/runs"))
CONFIGS = {
    Path(path).stem: path
    for path in os.environ.get("MASTERY_CONFIGS", str(HOME / "configs/sample.yaml")).split(":")
}
# New data of a configuration, and a version that it has pushed.
LOGS = {name: Asset(name=f"{name}_log", uri=f"mastery://{name}/log") for name in CONFIGS}
FOUND = AssetAlias("mastery_logs")
PUSHED = AssetAlias("mastery_models")

# Light neighbours share a task: a process imports TFX once for all of them.
GROUPS = {
    "data": ("ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "DataGate"),
    "prepare": ("Transform", "WarmStartResolver"),
    "fit": ("Trainer",),
    "judge": ("BaselineResolver", "Evaluator", "ServingCheck"),
    "deliver": ("Pusher", "Report"),
}


def explain(context: Any) -> None:
    """Says in the log of a task that failed for good where to read on."""
    instance = context["task_instance"]
    print(
        f"{instance.task_id} failed after {instance.try_number} tries. What is done is kept: clear "
        f"the task to go on from there. Every run and its report: mastery runs --root {ROOT}"
    )


DEFAULTS = {
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=6),
    "on_failure_callback": explain,
}


@dag(
    schedule=os.environ.get("MASTERY_LOOK", "*/15 * * * *"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["mastery"],
    doc_md="Looks for new spans of each configuration's log, and updates the asset of that log.",
)
def mastery_spans() -> None:
    """Looks for new deliveries of logs."""

    @task(
        inlets=[*LOGS.values()],
        outlets=[FOUND],
        map_index_template="{{ configuration }}",
    )
    def look(name: str, inlet_events: Any = None, outlet_events: Any = None) -> None:
        """Updates the log's asset if a run would read other files than at the last look."""
        get_current_context()["configuration"] = name
        command = [HOME / ".venv/bin/mastery", "spans", "--config", CONFIGS[name], "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AirflowFailException(done.stderr.strip())

        found = json.loads(done.stdout)
        before = [event.extra for event in inlet_events[LOGS[name]]]
        if before and before[-1] == found:
            raise AirflowSkipException("nothing new")
        print(f"new: {found}")
        outlet_events[FOUND].add(LOGS[name], extra=found)

    look.expand(name=[*CONFIGS])


@dag(
    schedule=AssetAny(*LOGS.values()),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["mastery"],
    doc_md="Trains, judges and pushes a model for each configuration with new data; started by "
    "hand, for all configurations.",
)
def mastery() -> None:
    """Runs the pipeline, a task for each group of nodes."""

    @task
    def configurations(triggering_asset_events: Any = None) -> list[dict[str, str]]:
        """Returns what to run: the configurations whose logs are new, or else all of them."""
        run = get_current_context()["dag_run"]
        names = [name for name in CONFIGS if LOGS[name] in (triggering_asset_events or {})]
        began = run.run_after.strftime("%Y%m%d-%H%M%S")
        return [
            {"name": name, "config": CONFIGS[name], "run": f"{began}-airflow-{name}"}
            for name in names or CONFIGS
        ]

    @task_group
    def pipeline(name: str, config: str, run: str) -> None:
        """The nodes of one configuration, in the order of the pipeline."""
        steps: list[BaseOperator] = [
            _run(group, config, run, f"--nodes {','.join(nodes)}")
            for group, nodes in GROUPS.items()
        ]
        steps.append(_run("finish", config, run, "--finish", trigger_rule=TriggerRule.ALL_DONE))
        for before, after in pairwise(steps):
            before >> after
        steps[-1] >> conclude(name, run)

    @task(outlets=[PUSHED], retries=0, map_index_template="{{ configuration }}")
    def conclude(name: str, run: str, outlet_events: Any = None) -> None:
        """Fails as the run did, gates included; or updates the asset of the model."""
        get_current_context()["configuration"] = name
        [file] = ROOT.glob(f"*/runs/{run}/run.json")
        record = json.loads(file.read_text(encoding="utf-8"))
        where = f"Report: {record.get('report') or 'none'}"
        if record["state"] != "passed":
            reason = f" {record['error']}" if record.get("error") else ""
            raise AirflowFailException(f"{name}: {record['state']}.{reason} {where}")

        pushed = record.get("pushed_version")
        print(f"pushed {pushed}. {where}")
        if pushed:
            model = Asset(name=f"{name}_model", uri=f"mastery://{name}/model")
            outlet_events[PUSHED].add(model, extra={"version": pushed, "run": run})

    pipeline.expand_kwargs(configurations())


def _run(task_id: str, config: str, run: str, what: str, **options: Any) -> BashOperator:
    """Returns a task that runs nodes of one configuration, or finishes its run."""
    return BashOperator(
        task_id=task_id,
        bash_command='exec "$MASTERY_PYTHON" -m pipeline.kubeflow.container '
        f'--config "$MASTERY_CONFIG" --root "$MASTERY_ROOT" --run "$MASTERY_RUN" {what}',
        env={
            "MASTERY_PYTHON": str(HOME / ".venv/bin/python"),
            "MASTERY_CONFIG": config,
            "MASTERY_ROOT": str(ROOT),
            "MASTERY_RUN": run,
        },
        append_env=True,
        cwd=str(HOME),
        map_index_template="{{ task.env['MASTERY_CONFIG'] }}",
        do_xcom_push=False,
        **options,
    )


mastery_spans()
mastery()
