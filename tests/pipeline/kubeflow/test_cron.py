"""Cron expressions: five usual fields in, Kubeflow's six out."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from components.errors import MasteryError
from pipeline.kubeflow.cron import KubeflowCron, convert_cron

WINTER = datetime(2026, 1, 15, tzinfo=UTC)
SUMMER = datetime(2026, 7, 15, tzinfo=UTC)


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
        ("0 3 31 2,4 *", "never comes"),
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
def test_what_one_expression_cannot_say_elsewhere_is_refused(expression: str) -> None:
    assert "cannot be said in UTC" in wrong(expression, "Asia/Kolkata")


def test_an_unknown_time_zone_is_named() -> None:
    assert "--timezone: expected a time zone such as Europe/Zurich, found 'CEST'" in wrong(
        "0 3 * * *", "CEST"
    )
