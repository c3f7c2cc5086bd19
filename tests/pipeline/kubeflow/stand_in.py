"""A stand-in for the API server of Kubeflow Pipelines: it is not Kubeflow, and runs nothing.

Its server (`stand_in_server`) speaks HTTP and checks every request against the published API
(`published_api`), the models that KFP's own client is generated with. Compiled pipelines are
checked against the published schema, everything is kept in memory, and runs go through the stages
that a test lays out, one stage per request for their state. It can show that a request is
well-formed; only a cluster shows what Kubeflow does with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.pipeline.kubeflow.published_api import Operation, read_filter

START = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
Stage = tuple[str, list[api.V2beta1PipelineTaskDetail]]  # a run's state, and its tasks


class RefusedError(Exception):
    """An answer that is an error: its status, and the message in its body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StandIn:
    """The stored objects, the requests so far, and how to answer."""

    def __init__(self) -> None:
        self.token: str | None = None  # that requests have to bring
        self.multi_user = False
        # By the operation's name.
        self.refuse: Callable[[str], RefusedError | None] = lambda _: None
        self.page: bytes | None = None  # answered to everything, as a login page would be
        self.stages: list[Stage] = [("SUCCEEDED", [])]
        self.asked: list[str] = []  # names of operations, in order
        self.violations: list[str] = []
        self.pipelines: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.experiments: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.schedules: dict[str, Any] = {}
        self._numbers = itertools.count(1)

    def answer(
        self, operation: Operation, place: tuple[str, ...], query: dict[str, str], body: Any
    ) -> Any:
        """Returns the model that an operation answers with."""
        self.asked.append(operation.name)
        refusal = self.refuse(operation.name)
        if refusal:
            raise refusal
        options = query if body is None else {"body": body, **query}
        return getattr(self, operation.name)(*place, **options)

    def healthz_service_get_healthz(self) -> Any:
        return api.V2beta1GetHealthzResponse(multi_user=self.multi_user, pipeline_store="database")

    # Pipelines and versions

    def pipeline_service_list_pipelines(self, **query: str) -> Any:
        return self._page(api.V2beta1ListPipelinesResponse, "pipelines", self.pipelines, query)

    def pipeline_service_create_pipeline(self, body: Any) -> Any:
        body.pipeline_id, body.created_at = self._id("pipeline"), self._now()
        self.pipelines[body.pipeline_id] = body
        return body

    def pipeline_service_list_pipeline_versions(self, pipeline_id: str, **query: str) -> Any:
        own = {key: item for key, item in self.versions.items() if item.pipeline_id == pipeline_id}
        return self._page(api.V2beta1ListPipelineVersionsResponse, "pipeline_versions", own, query)

    def pipeline_service_get_pipeline_version(self, pipeline_id: str, version_id: str) -> Any:
        found = self._get(self.versions, version_id)
        assert found.pipeline_id == pipeline_id
        return found

    def upload_pipeline_version(self, body: bytes, name: str, pipelineid: str) -> Any:
        self._get(self.pipelines, pipelineid)
        taken = {(item.pipeline_id, item.name) for item in self.versions.values()}
        if (pipelineid, name) in taken:
            raise RefusedError(409, "Failed to create a pipeline version")
        spec, *platforms = yaml.safe_load_all(body)
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        for platform in platforms:
            json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())

        both = {"pipeline_spec": spec, "platform_spec": platforms[0]} if platforms else spec
        version = api.V2beta1PipelineVersion(
            pipeline_id=pipelineid,
            pipeline_version_id=self._id("version"),
            name=name,
            display_name=name,
            created_at=self._now(),
            pipeline_spec=both,
        )
        self.versions[version.pipeline_version_id] = version
        return version

    # Experiments and runs

    def experiment_service_list_experiments(self, **query: str) -> Any:
        return self._page(
            api.V2beta1ListExperimentsResponse, "experiments", self.experiments, query
        )

    def experiment_service_create_experiment(self, body: Any) -> Any:
        body.experiment_id, body.created_at = self._id("experiment"), self._now()
        self.experiments[body.experiment_id] = body
        return body

    def run_service_create_run(self, body: Any) -> Any:
        self._references(body)
        body.run_id, body.created_at, body.state = self._id("run"), self._now(), "PENDING"
        body.finished_at = datetime.fromtimestamp(0, UTC)
        self.runs[body.run_id] = body
        return body

    def run_service_get_run(self, run_id: str) -> Any:
        run = self._get(self.runs, run_id)
        run.state, tasks = self.stages.pop(0) if len(self.stages) > 1 else self.stages[0]
        run.run_details = api.V2beta1RunDetails(task_details=tasks)
        if run.state in ("SUCCEEDED", "FAILED", "CANCELED"):
            run.finished_at = run.created_at + timedelta(seconds=90)
        return run

    def run_service_list_runs(self, **query: str) -> Any:
        return self._page(api.V2beta1ListRunsResponse, "runs", self.runs, query)

    # Recurring runs

    def recurring_run_service_create_recurring_run(self, body: Any) -> Any:
        self._references(body)
        fields = body.trigger.cron_schedule.cron.split()
        if not 1 <= int(body.max_concurrency) <= 10 or len(fields) not in (5, 6):
            raise RefusedError(400, "Invalid input error")
        body.recurring_run_id, body.created_at = self._id("schedule"), self._now()
        body.max_concurrency, body.status = str(body.max_concurrency), f"{body.mode}D"
        self.schedules[body.recurring_run_id] = body
        return body

    def recurring_run_service_list_recurring_runs(self, **query: str) -> Any:
        return self._page(
            api.V2beta1ListRecurringRunsResponse, "recurring_runs", self.schedules, query
        )

    def recurring_run_service_delete_recurring_run(self, schedule_id: str) -> Any:
        self._get(self.schedules, schedule_id)
        del self.schedules[schedule_id]

    def recurring_run_service_disable_recurring_run(self, schedule_id: str) -> Any:
        self._get(self.schedules, schedule_id).status = "DISABLED"

    def recurring_run_service_enable_recurring_run(self, schedule_id: str) -> Any:
        self._get(self.schedules, schedule_id).status = "ENABLED"

    # Shared by several operations

    def _references(self, body: Any) -> None:
        self._get(self.experiments, body.experiment_id)
        version = self._get(self.versions, body.pipeline_version_reference.pipeline_version_id)
        assert version.pipeline_id == body.pipeline_version_reference.pipeline_id

    def _get(self, items: dict[str, Any], key: str) -> Any:
        if key not in items:
            raise RefusedError(404, f"{key} not found.")
        return items[key]

    def _page(self, answer: Any, field: str, items: dict[str, Any], query: dict[str, str]) -> Any:
        if self.multi_user and field != "pipeline_versions" and not query.get("namespace"):
            raise RefusedError(400, "Invalid input error: A namespace is needed in multi-user mode")
        found = [*reversed(items.values())]
        if query.get("filter"):
            for key, value in read_filter(query["filter"]).items():
                # Without regard to case, as MySQL compares.
                found = [item for item in found if getattr(item, key).lower() == value.lower()]

        start = int(query.get("page_token") or 0)
        size = int(query.get("page_size") or 20)
        following = str(start + size) if start + size < len(found) else None
        return answer(
            **{field: found[start : start + size]}, total_size=len(found), next_page_token=following
        )

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    def _now(self) -> datetime:
        return START + timedelta(minutes=next(self._numbers))
