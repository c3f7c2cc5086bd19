"""The stand-in itself: it refuses requests that the published API does not describe."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.kubeflow.published_api import (
    ViolationError,
    find_operation,
    operations,
    read_filter,
    read_model,
    write_model,
)

SCHEDULE = {
    "display_name": "nightly",
    "max_concurrency": 1,
    "mode": "ENABLE",
    "no_catchup": True,
    "trigger": {"cron_schedule": {"cron": "0 0 3 * * *"}},
}


def test_operations_are_read_from_the_published_client() -> None:
    assert len(operations()) > 30
    operation, place = find_operation("POST", "/apis/v2beta1/recurringruns/abc:disable")
    assert (operation.name, place) == ("recurring_run_service_disable_recurring_run", ("abc",))
    assert find_operation("POST", "/apis/v2beta1/runs")[0].body == "V2beta1Run"
    assert find_operation("POST", "/apis/v2beta1/pipelines/upload_version")[0].file == "uploadfile"
    for method, path in (("PUT", "/apis/v2beta1/runs"), ("GET", "/apis/v1beta1/runs")):
        with pytest.raises(ViolationError, match="no operation"):
            find_operation(method, path)


def test_a_model_goes_there_and_back() -> None:
    assert write_model(read_model(SCHEDULE, "V2beta1RecurringRun")) == SCHEDULE | {
        "max_concurrency": "1"
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"catchup": False}, "V2beta1RecurringRun.catchup: V2beta1RecurringRun has no such field"),
        ({"no_catchup": "true"}, "no_catchup: expected bool, found 'true'"),
        ({"display_name": 3}, "display_name: expected str, found 3"),
        ({"mode": "ON"}, "mode: expected one of"),
        (
            {"trigger": {"cron_schedule": {"crontab": "* * * * *"}}},
            "V2beta1CronSchedule has no such field",
        ),
        ({"trigger": "0 0 3 * * *"}, "trigger: expected dict"),
    ],
)
def test_unknown_names_and_wrong_types_are_violations(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ViolationError, match=says):
        read_model(SCHEDULE | change, "V2beta1RecurringRun")


def test_filters_are_checked_too() -> None:
    equals = '{"predicates": [{"operation": %s, "key": "display_name", "%s": "a"}]}'
    assert read_filter(equals % (1, "stringValue")) == {"display_name": "a"}
    assert read_filter(equals % ('"EQUALS"', "string_value")) == {"display_name": "a"}
    with pytest.raises(ViolationError, match="no such field"):
        read_filter(equals % (1, "value"))
    with pytest.raises(ViolationError, match="expected one of"):
        read_filter(equals % ('"LIKE"', "stringValue"))
