"""Schedules: one per name, without overlapping runs. Cron: five fields in, six out."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from components.errors import MasteryError
from pipeline.kubeflow.schedules import KubeflowCron, convert_cron
from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stand_in import RefusedError, StandIn

CREATE = "recurring_run_service_create_recurring_run"
DELETE = "recurring_run_service_delete_recurring_run"
WINTER = datetime(2026, 1, 15, tzinfo=UTC)
SUMMER = datetime(2026, 7, 15, tzinfo=UTC)


def test_a_schedule_neither_overlaps_nor_catches_up(mastery: Mastery, cluster: StandIn) -> None:
    code, out, err = mastery("schedule", "--cron", "0 3 * * *", "--param", "only_new_data=true")
    [made], [version] = cluster.schedules.values(), cluster.versions.values()
    assert (code, err) == (0, "")
    assert made.trigger.cron_schedule.cron == "0 0 3 * * *"
    assert made.max_concurrency == "1"
    assert made.no_catchup is True
    assert made.mode == "ENABLE"
    assert made.display_name == "algebra"
    assert made.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert made.runtime_config.parameters == {"only_new_data": True}
    assert f'Scheduled algebra ({made.recurring_run_id}): "0 0 3 * * *" in UTC' in out


def test_a_schedule_of_the_same_name_is_replaced_after_the_new_one_is_there(
    mastery: Mastery, cluster: StandIn
) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    [old] = cluster.schedules
    cluster.asked.clear()
    code, out, _ = mastery(
        "schedule", "--cron", "30 4 * * *", "--set", "kubeflow.experiment=another"
    )
    [new] = cluster.schedules.values()
    assert code == 0
    assert new.trigger.cron_schedule.cron == "0 30 4 * * *"
    assert cluster.asked.index(CREATE) < cluster.asked.index(DELETE)
    assert f"Replaced schedule algebra ({old})" in out


def test_a_schedule_that_cannot_be_made_leaves_the_old_one(
    mastery: Mastery, cluster: StandIn
) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    before = dict(cluster.schedules)
    cluster.refuse = lambda name: (
        RefusedError(500, "database is locked") if name == CREATE else None
    )
    code, _, err = mastery("schedule", "--cron", "30 4 * * *")
    assert code == 2
    assert "database is locked" in err
    assert cluster.schedules == before


def test_an_old_schedule_that_cannot_be_deleted_is_named(
    mastery: Mastery, cluster: StandIn
) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    [old] = cluster.schedules
    cluster.refuse = lambda name: (
        RefusedError(500, "database is locked") if name == DELETE else None
    )
    code, _, err = mastery("schedule", "--cron", "30 4 * * *")
    assert code == 2
    assert f"the one before it, {old}, could not be deleted, so both run" in err


def test_other_names_and_other_pipelines_are_left_alone(mastery: Mastery, cluster: StandIn) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    mastery("schedule", "--cron", "0 5 * * *", "--name", "Algebra")
    [first, _] = cluster.schedules.values()
    first.pipeline_version_reference.pipeline_id = "another-pipeline"
    mastery("schedule", "--cron", "0 4 * * *")
    assert sorted(item.trigger.cron_schedule.cron for item in cluster.schedules.values()) == [
        "0 0 3 * * *", "0 0 4 * * *", "0 0 5 * * *"
    ]  # fmt: skip


def test_pause_resume_delete(mastery: Mastery, cluster: StandIn) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    [made] = cluster.schedules.values()
    assert mastery("schedule", "--pause")[1].startswith("Paused schedule algebra")
    assert made.status == "DISABLED"
    assert mastery("schedule", "--resume")[1].startswith("Resumed schedule algebra")
    assert made.status == "ENABLED"
    assert mastery("schedule", "--delete")[1].startswith("Deleted schedule algebra")
    assert not cluster.schedules
    code, _, err = mastery("schedule", "--delete")
    assert code == 2
    assert "There is no schedule 'algebra' of pipeline algebra" in err


def test_a_time_zone_is_moved_to_the_cluster_s(mastery: Mastery, cluster: StandIn) -> None:
    mastery("schedule", "--cron", "0 3 * * *", "--timezone", "Asia/Kolkata")
    _, out, _ = mastery(
        "schedule", "--cron", "0 3 * * *", "--timezone", "Europe/Zurich", "--name", "zurich"
    )
    expressions = [item.trigger.cron_schedule.cron for item in cluster.schedules.values()]
    assert expressions[0] == "0 30 21 * * *"
    assert expressions[1] in ("0 0 1 * * *", "0 0 2 * * *")  # summer, winter
    assert "Clocks change on" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cron", "0 0 3 * * *"], "expected five fields"),
        (["--cron", "0 25 * * *"], "hour: expected 0 to 23"),
        (["--cron", "0 3 * * *", "--timezone", "Zurich"], "expected a time zone such as"),
        (
            ["--cron", "0 3 * * *", "--delete"],
            "expected one of --cron, --pause, --resume and --delete",
        ),
        ([], "expected one of --cron"),
    ],
)
def test_wrong_arguments_are_refused_before_any_request(
    mastery: Mastery, cluster: StandIn, arguments: list[str], says: str
) -> None:
    code, _, err = mastery("schedule", *arguments)
    assert code == 2
    assert says in err
    assert not cluster.asked


def convert(
    expression: str, zone: str = "UTC", cluster_zone: str = "UTC", now: datetime = WINTER
) -> KubeflowCron:
    return convert_cron(expression, zone=zone, cluster_zone=cluster_zone, now=now)


def wrong(expression: str, zone: str = "UTC") -> str:
    with pytest.raises(MasteryError) as caught:
        convert(expression, zone)
    return str(caught.value)


@pytest.mark.parametrize(
    ("usual", "kubeflow"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("*/15 8-18/2 * * *", "0 */15 8-18/2 * * *"),
        ("5 4 1,15 JAN-mar *", "0 5 4 1,15 JAN-mar *"),
        ("0 3 * * 7", "0 0 3 * * 0"),  # Kubeflow's parser knows Sunday as 0 only
        ("0 3 * * 5-7", "0 0 3 * * 0,5,6"),
        ("0 3 * * mon", "0 0 3 * * 1"),
        ("0 3 * * 0-7", "0 0 3 * * *"),
        ("  0   3 29 2 * ", "0 0 3 29 2 *"),
    ],
)
def test_five_fields_become_six(usual: str, kubeflow: str) -> None:
    assert convert(usual) == KubeflowCron(kubeflow)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("0 0 3 * * *", "expected five fields (minute, hour, day of month, month, day of week)"),
        ("", "found 0 in ''"),
        ("60 3 * * *", "minute: expected 0 to 59"),
        ("0 24 * * *", "hour: expected 0 to 23"),
        ("0 3 0 * *", "day of month: expected 1 to 31"),
        ("0 3 * 13 *", "month: expected 1 to 12 or JAN to DEC"),
        ("0 3 * * 8", "day of week: expected 0 to 7 or SUN to SAT"),
        ("0 3 * * MONDAY", "found 'MONDAY'"),
        ("5-1 3 * * *", "found '5-1'"),
        ("*/0 3 * * *", "found '*/0'"),
        ("5/10 3 * * *", "found '5/10'"),
        ("1,,2 3 * * *", "found '1,,2'"),
        ("-1 3 * * *", "found '-1'"),
        ("² 3 * * *", "found '²'"),
        ("0 3 31 2,4 *", "never matches"),
    ],
)
def test_a_wrong_expression_says_which_field(expression: str, says: str) -> None:
    assert says in wrong(expression)


def test_a_time_zone_without_clock_changes_is_moved_exactly() -> None:
    assert convert("30 3 * * *", "Asia/Kolkata") == KubeflowCron("0 0 22 * * *")
    assert convert("0 3 * * MON", "Asia/Tokyo") == KubeflowCron("0 0 18 * * 0")
    assert convert("0 22 * * SAT", "America/Phoenix") == KubeflowCron("0 0 5 * * 0")
    assert convert("*/10 * * * *", "Asia/Kolkata") == KubeflowCron("0 */10 * * * *")


def test_a_time_zone_with_clock_changes_says_when_the_hour_moves() -> None:
    assert convert("0 3 * * *", "Europe/Zurich") == KubeflowCron("0 0 2 * * *", date(2026, 3, 29))
    assert convert("0 3 * * *", "Europe/Zurich", now=SUMMER) == KubeflowCron(
        "0 0 1 * * *", date(2026, 10, 25)
    )


def test_the_cluster_s_own_time_zone_is_left_as_it_is() -> None:
    assert convert("0 3 1 * *", "Europe/Zurich", "Europe/Zurich") == KubeflowCron("0 0 3 1 * *")
    assert convert("0 3 * * *", "UTC", "Asia/Tokyo") == KubeflowCron("0 0 12 * * *")


@pytest.mark.parametrize("expression", ["0 3 1 * *", "0,30 5 * * *", "0 3,12 * * MON", "0 3 * 1 *"])
def test_an_expression_that_cannot_be_moved_to_another_zone_is_refused(expression: str) -> None:
    assert "cannot be written as one expression in UTC" in wrong(expression, "Asia/Kolkata")


def test_an_unknown_time_zone_is_named() -> None:
    assert "--timezone: expected a time zone such as Europe/Zurich, found 'CEST'" in wrong(
        "0 3 * * *", "CEST"
    )
