"""Schedules: one of a name, no overlap, no catching up."""

from __future__ import annotations

import pytest

from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stand_in import RefusedError, StandIn

CREATE = "recurring_run_service_create_recurring_run"
DELETE = "recurring_run_service_delete_recurring_run"


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
    assert f"the one before it, {old}, could not be deleted and runs as well" in err


def test_other_names_and_other_pipelines_are_left_alone(mastery: Mastery, cluster: StandIn) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    mastery("schedule", "--cron", "0 5 * * *", "--name", "Algebra")
    [first, _] = cluster.schedules.values()
    first.pipeline_version_reference.pipeline_id = "somebody-else-s"
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
    assert "expected a schedule 'algebra' of pipeline algebra" in err


def test_a_time_zone_is_moved_to_the_cluster_s(mastery: Mastery, cluster: StandIn) -> None:
    mastery("schedule", "--cron", "0 3 * * *", "--timezone", "Asia/Kolkata")
    _, out, _ = mastery(
        "schedule", "--cron", "0 3 * * *", "--timezone", "Europe/Zurich", "--name", "zurich"
    )
    expressions = [item.trigger.cron_schedule.cron for item in cluster.schedules.values()]
    assert expressions[0] == "0 30 21 * * *"
    assert expressions[1] in ("0 0 1 * * *", "0 0 2 * * *")  # summer, winter
    assert "when clocks change" in out


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
def test_what_is_wrong_is_told_before_anything_is_asked(
    mastery: Mastery, cluster: StandIn, arguments: list[str], says: str
) -> None:
    code, _, err = mastery("schedule", *arguments)
    assert code == 2
    assert says in err
    assert not cluster.asked
