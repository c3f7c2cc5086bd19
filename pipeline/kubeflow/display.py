"""What a person reads about runs, versions and schedules on the cluster."""

from __future__ import annotations

from datetime import datetime

from rich.table import Table

from components.command.console import PlainConsole
from pipeline.kubeflow.listing import Listing
from pipeline.kubeflow.status import RunStatus, TaskStatus, exit_code

_MARKS = {
    "RUNNING": "▶",
    "SUCCEEDED": "✓",
    "SKIPPED": "–",
    "FAILED": "✗",
    "CANCELED": "✗",
    "CANCELING": "✗",
}
_ENDINGS = {
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELED": "was cancelled",
    "SKIPPED": "was skipped",
}


def print_task(task: TaskStatus, console: PlainConsole) -> None:
    """Prints one line: mark, state, how long it took, and the name, which may be long."""
    seconds = "" if task.seconds is None else f"{task.seconds:.1f} s"
    line = f"{_MARKS.get(task.state, '·')} {task.state.lower():<10}{seconds:>10}  {task.name}"
    console.print(line, soft_wrap=True)


def print_ending(run: RunStatus, console: PlainConsole) -> None:
    """Prints why a run failed and how it ended."""
    for task in run.failed_tasks:
        reason = task.error or "Kubeflow Pipelines gives no reason; its log says more"
        pods = f" (pod {', '.join(task.pods)})" if task.pods else ""
        what = "a gate failed" if task.is_gate else "failed"
        console.print(f"{task.name}: {what}: {reason}{pods}", style="bold red", soft_wrap=True)
    if run.error:
        console.print(run.error, soft_wrap=True)
    ending = _ENDINGS.get(run.state, f"is {run.state.lower()}")
    if exit_code(run) == 1:
        ending = "completed, but a gate failed,"
    after = "" if run.seconds is None else f" after {run.seconds:.1f} s"
    console.print(f"Run      {run.id} {ending}{after}", soft_wrap=True)


def print_status(run: RunStatus, console: PlainConsole) -> None:
    """Prints a run with all its tasks."""
    for task in run.tasks:
        print_task(task, console)
    print_ending(run, console)
    console.print(f"Watch    {run.link}", soft_wrap=True)


def print_listing(listing: Listing, console: PlainConsole) -> None:
    """Prints tables of a pipeline's versions, schedules and latest runs."""
    if listing.pipeline_id is None:
        console.print(f"{listing.pipeline} was not submitted here yet.")
        return
    versions = _table("Versions", "Version", "ID", "Uploaded")
    for version in listing.versions:
        versions.add_row(version.name, version.id, _time(version.created))
    schedules = _table("Schedules", "Schedule", "ID", "Cron", "State", "Version")
    names = {version.id: version.name for version in listing.versions}
    for schedule in listing.schedules:
        state = "enabled" if schedule.enabled else "paused"
        version_name = names.get(schedule.version or "", schedule.version or "")
        schedules.add_row(schedule.name, schedule.id, schedule.cron or "", state, version_name)
    runs = _table("Latest runs", "Run", "ID", "State", "Started", "Seconds")
    for run in listing.runs:
        seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
        runs.add_row(run.name, run.id, run.state.lower(), _time(run.created), seconds)
    for table in (versions, schedules, runs):
        console.print(table if table.row_count else f"{table.title}: none")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == "ID", overflow="fold")  # half an ID is of no use
    return table


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"
