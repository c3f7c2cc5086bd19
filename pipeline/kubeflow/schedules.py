"""Schedules of a pipeline, one per name, and the cron expressions that they run by.

Kubeflow parses cron with version 1 of github.com/robfig/cron: the first field is the second, the
last may be left out, and Sunday is 0 only. A usual `0 3 * * *` is therefore valid there, but means
the third minute of *every* hour. Here the usual five fields are checked and turned into Kubeflow's
six.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from components.config.data import check_timezone
from components.errors import MasteryError
from pipeline.kubeflow.client import NOT_FOUND, Cluster, KubeflowError, filter_by_name
from pipeline.kubeflow.submit import (
    Submission,
    find_or_create_experiment,
    find_pipeline,
    pipeline_name,
)

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.kubeflow.parameters import Value

EXAMPLE = 'such as "0 3 * * *", every day at 03:00'
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {
    name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
}
_ITEM = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
_DAY = 24 * 60  # minutes


class Schedule(BaseModel):
    """One recurring run.

    Attributes:
        id: KFP's ID.
        name: the name that people see.
        cron: six fields; the first is seconds.
        enabled: False while it is paused.
        version: ID of the pipeline's version.
        created: when it was made.
    """

    id: str
    name: str
    cron: str | None = None
    enabled: bool
    version: str | None = None
    created: datetime | None = None


def put_schedule(
    cluster: Cluster,
    config: Config,
    submission: Submission,
    *,
    name: str,
    cron: str,
    parameters: Mapping[str, Value],
) -> tuple[Schedule, list[Schedule]]:
    """Makes a schedule, and then deletes those of the same name that were there before.

    In this order a request that fails never leaves the pipeline without a schedule.

    Args:
        cluster: where to.
        config: names the experiment and the service account.
        submission: the version to run.
        name: the schedule's name, its own among those of this pipeline.
        cron: six fields, as `convert_cron` makes them.
        parameters: values of the pipeline's parameters.

    Returns:
        The new schedule, and those it replaced.

    Raises:
        MasteryError: the new one was made, but an old one could not be deleted.
        KubeflowError: the cluster refused or did not answer before the new one was made.
    """
    before = list_schedules(cluster, submission.pipeline_id, name)
    experiment_id = find_or_create_experiment(cluster, config)
    with cluster.translate_errors():
        made = cluster.client.create_recurring_run(
            experiment_id,
            name,
            cron_expression=cron,
            max_concurrency=1,  # a run that is due while the last one is running waits for it
            no_catchup=True,  # after a pause only the latest missed run is started
            params=dict(parameters),
            pipeline_id=submission.pipeline_id,
            version_id=submission.version_id,
            service_account=config.kubeflow.service_account,
            enabled=True,
        )
    for old in before:
        try:
            _delete(cluster, old)
        except KubeflowError as error:
            raise MasteryError(
                f"Schedule {made.recurring_run_id} was made, but the one before it, {old.id}, "
                f"could not be deleted, so both run. Run the same command again.\n{error}"
            ) from None
    return _read_schedule(made), before


def pause_schedule(cluster: Cluster, pipeline: str, name: str) -> list[Schedule]:
    """Pauses the schedules of a name and returns them."""
    schedules = _find_schedules(cluster, pipeline, name)
    return _change(cluster, schedules, cluster.client.disable_recurring_run)


def resume_schedule(cluster: Cluster, pipeline: str, name: str) -> list[Schedule]:
    """Resumes the newest schedule of a name and returns it."""
    newest = _find_schedules(cluster, pipeline, name)[:1]
    return _change(cluster, newest, cluster.client.enable_recurring_run)


def delete_schedule(cluster: Cluster, pipeline: str, name: str) -> list[Schedule]:
    """Deletes the schedules of a name and returns them; runs that they have started go on."""
    schedules = _find_schedules(cluster, pipeline, name)
    for schedule in schedules:
        _delete(cluster, schedule)
    return schedules


def list_schedules(cluster: Cluster, pipeline_id: str, name: str | None = None) -> list[Schedule]:
    """Returns the schedules of a pipeline, newest first.

    Args:
        cluster: where to look.
        pipeline_id: the pipeline's ID.
        name: of the schedules; default: any.
    """
    options = {"filter": filter_by_name(name)} if name else {}
    # Of every experiment: the configuration may have named another one before.
    items = cluster.pages(
        cluster.client.list_recurring_runs, "recurring_runs", namespace=cluster.namespace, **options
    )
    return [
        _read_schedule(item)
        for item in items
        if _pipeline_of(item) == pipeline_id and name in (None, item.display_name)
    ]


def _find_schedules(cluster: Cluster, pipeline: str, name: str) -> list[Schedule]:
    pipeline_id = find_pipeline(cluster, pipeline)
    found = list_schedules(cluster, pipeline_id, name) if pipeline_id else []
    if not found:
        raise MasteryError(
            f"There is no schedule {name!r} of pipeline {pipeline_name(pipeline)} on "
            f"{cluster.host}; `mastery kubeflow list` lists the schedules."
        )
    return found


def _change(
    cluster: Cluster, schedules: list[Schedule], change: Callable[[str], Any]
) -> list[Schedule]:
    for schedule in schedules:
        with cluster.translate_errors():
            change(schedule.id)
    return schedules


def _delete(cluster: Cluster, schedule: Schedule) -> None:
    try:
        with cluster.translate_errors():
            cluster.client.delete_recurring_run(schedule.id)
    except KubeflowError as error:
        if error.status != NOT_FOUND:  # it is gone already
            raise


def _pipeline_of(item: Any) -> str | None:
    reference = item.pipeline_version_reference
    return reference.pipeline_id if reference else None


def _read_schedule(item: Any) -> Schedule:
    cron = item.trigger.cron_schedule if item.trigger else None
    reference = item.pipeline_version_reference
    return Schedule(
        id=item.recurring_run_id,
        name=item.display_name or "",
        cron=cron.cron if cron else None,
        enabled=item.status == "ENABLED" if item.status else item.mode == "ENABLE",
        version=reference.pipeline_version_id if reference else None,
        created=item.created_at,
    )


@dataclass(frozen=True)
class KubeflowCron:
    """A schedule as Kubeflow Pipelines reads it.

    Attributes:
        expression: six fields; the first is seconds.
        shifts_on: first day on which the same expression means another local time, because clocks
            change; None if they do not.
    """

    expression: str
    shifts_on: date | None = None


@dataclass(frozen=True)
class _Field:
    """The values that one field of cron may hold."""

    name: str
    first: int
    last: int
    names: Mapping[str, int]

    @property
    def is_weekday(self) -> bool:
        return self.names is _DAYS

    @property
    def all(self) -> frozenset[int]:
        """Its values; Sunday is 0."""
        values = frozenset(range(self.first, self.last + 1))
        return values - {7} if self.is_weekday else values


_MINUTE = _Field("minute", 0, 59, {})
_HOUR = _Field("hour", 0, 23, {})
_DAY_OF_MONTH = _Field("day of month", 1, 31, {})
_MONTH = _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day of week", 0, 7, _DAYS)
_FIELDS = (_MINUTE, _HOUR, _DAY_OF_MONTH, _MONTH, _WEEKDAY)


def convert_cron(expression: str, *, zone: str, cluster_zone: str, now: datetime) -> KubeflowCron:
    """Turns a usual cron expression into Kubeflow's.

    >>> now = datetime.fromisoformat("2026-01-15T00:00+00:00")
    >>> convert_cron("30 3 * * *", zone="Asia/Kolkata", cluster_zone="UTC", now=now).expression
    '0 0 22 * * *'

    Args:
        expression: minute, hour, day of month, month, day of week; names such as MON, lists, ranges
            and steps work.
        zone: the time zone that `expression` is meant in.
        cluster_zone: the time zone in which the cluster reads cron expressions.
        now: the moment, with a time zone, whose offset between the two zones is used.

    Raises:
        MasteryError: the expression is not valid, never matches, or cannot be written in the
            cluster's time zone.
    """
    texts = expression.split()
    if len(texts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise MasteryError(
            f"--cron: expected five fields ({names}), {EXAMPLE}; "
            f"found {len(texts)} in {expression!r}."
        )
    values = [_parse(text, field) for text, field in zip(texts, _FIELDS, strict=True)]
    _, _, days, months, weekdays = values
    if texts[4] == "*" and not _ever_comes(days, months):
        raise MasteryError(f"--cron: {expression!r} never matches: no such day in these months.")

    texts[4] = _write(weekdays, texts[4], _WEEKDAY)
    shift = _minutes_between(now, zone, cluster_zone)
    if shift:
        texts = _shift(expression, texts, values, shift, cluster_zone)
    return KubeflowCron(" ".join(["0", *texts]), _next_change(now, zone, cluster_zone))


def _ever_comes(days: frozenset[int], months: frozenset[int]) -> bool:
    leap_year = 2024
    return any(min(days) <= calendar.monthrange(leap_year, month)[1] for month in months)


def _next_change(now: datetime, zone: str, cluster_zone: str) -> date | None:
    """Returns the day within a year on which the difference between two zones changes, if any."""
    shift = _minutes_between(now, zone, cluster_zone)
    for ahead in range(1, 367):
        day = now + timedelta(days=ahead)
        if _minutes_between(day, zone, cluster_zone) == shift:
            continue
        hours = (day - timedelta(hours=before) for before in range(24, -1, -1))
        changed = (hour for hour in hours if _minutes_between(hour, zone, cluster_zone) != shift)
        return next(changed).astimezone(_zone(zone)).date()
    return None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(check_timezone(name))
    except ValueError as error:
        raise MasteryError(f"--timezone: {error}.") from None


def _parse(text: str, field: _Field) -> frozenset[int]:
    """Returns the values that a field stands for; Sunday is 0."""
    values: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise _wrong(text, field)
        first, last, step = match.groups()
        if step and first and not last:  # 5/10 means different things to different programs
            raise _wrong(text, field)

        start = _number(first, text, field) if first else field.first
        open_end = start if first else field.last
        end = _number(last, text, field) if last else open_end
        if start > end or int(step or 1) == 0:
            raise _wrong(text, field)
        values.update(range(start, end + 1, int(step or 1)))
    return frozenset(0 if field.is_weekday and value == 7 else value for value in values)


def _number(text: str, whole: str, field: _Field) -> int:
    value = field.names.get(text.upper(), int(text) if text.isdecimal() else -1)
    if not field.first <= value <= field.last:
        raise _wrong(whole, field)
    return value


def _wrong(text: str, field: _Field) -> MasteryError:
    names = f" or {next(iter(field.names))} to {list(field.names)[-1]}" if field.names else ""
    return MasteryError(
        f"--cron: {field.name}: expected {field.first} to {field.last}{names}, "
        f"or *, a list (1,2), a range (1-5) or steps (*/2); found {text!r}."
    )


def _write(values: frozenset[int], before: str, field: _Field) -> str:
    """Returns a field for `values`, as it was written if Kubeflow reads that the same way."""
    if before == "*" or (not field.is_weekday and values == _parse(before, field)):
        return before
    return "*" if values == field.all else ",".join(str(value) for value in sorted(values))


def _minutes_between(moment: datetime, zone: str, cluster_zone: str) -> int:
    """Returns the minutes to add to a time of `zone` to get that of the cluster."""
    here = moment.astimezone(_zone(zone)).utcoffset()
    there = moment.astimezone(_zone(cluster_zone)).utcoffset()
    assert here is not None
    assert there is not None
    return int((there - here).total_seconds() // 60)


def _shift(
    expression: str,
    texts: list[str],
    values: Sequence[frozenset[int]],
    shift: int,
    cluster_zone: str,
) -> list[str]:
    """Moves minutes, hours and, where midnight lies between, days of the week."""
    minutes, hours, _, _, weekdays = values
    times = [hour * 60 + minute + shift for hour in hours for minute in minutes]
    moved = {time % _DAY for time in times}
    new_hours = frozenset(time // 60 for time in moved)
    new_minutes = frozenset(time % 60 for time in moved)
    days = {time // _DAY for time in times}  # -1, 0 or 1: the day before, the same, the day after

    is_every_day = texts[2:] == ["*", "*", "*"]
    is_weekly = len(days) == 1 and texts[2:4] == ["*", "*"]
    is_possible = is_every_day or is_weekly or days == {0}
    if len(new_hours) * len(new_minutes) != len(moved) or not is_possible:
        raise MasteryError(
            f"--cron: {expression!r} cannot be written as one expression in {cluster_zone}, the "
            f"cluster's time zone. Give it in {cluster_zone}, without --timezone."
        )

    weekday = texts[4]
    if not is_every_day:
        weekday = _write(frozenset((day + min(days)) % 7 for day in weekdays), weekday, _WEEKDAY)
    return [
        _write(new_minutes, texts[0], _MINUTE),
        _write(new_hours, texts[1], _HOUR),
        *texts[2:4],
        weekday,
    ]
