"""A stand-in for the API server of Kubeflow Pipelines: it is not Kubeflow, and runs nothing.

It speaks HTTP, checks every request against the published API (`published_api`) and compiled pipelines against
the published schema, and keeps what it is sent in memory. Runs go through the stages that a test lays out, one
stage a look. What Kubeflow itself makes of a request, it cannot show.
"""

from __future__ import annotations

import email
import itertools
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.pipeline.kubeflow.published_api import (
    Operation,
    ViolationError,
    find_operation,
    read_filter,
    read_model,
    write_model,
)

START = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
Stage = tuple[str, list[api.V2beta1PipelineTaskDetail]]  # a run's state, and its tasks


class RefusedError(Exception):
    """An answer that is no success: status, and the message in its body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StandIn:
    """What is stored, what was asked, and how to answer."""

    def __init__(self) -> None:
        self.token: str | None = None  # what requests have to bring
        self.multi_user = False
        self.refuse: Callable[[str], RefusedError | None] = lambda _: None  # by the operation's name
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

    def answer(self, operation: Operation, place: tuple[str, ...], query: dict[str, str], body: Any) -> Any:
        """Returns the model that an operation answers with."""
        self.asked.append(operation.name)
        refusal = self.refuse(operation.name)
        if refusal:
            raise refusal
        return getattr(self, operation.name)(*place, **({"body": body} if body is not None else {}), **query)

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
        if any((item.pipeline_id, item.name) == (pipelineid, name) for item in self.versions.values()):
            raise RefusedError(409, "Failed to create a pipeline version")
        spec, *platforms = yaml.safe_load_all(body)
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        for platform in platforms:
            json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        version = api.V2beta1PipelineVersion(
            pipeline_id=pipelineid,
            pipeline_version_id=self._id("version"),
            name=name,
            display_name=name,
            created_at=self._now(),
            pipeline_spec={"pipeline_spec": spec, "platform_spec": platforms[0]} if platforms else spec,
        )
        self.versions[version.pipeline_version_id] = version
        return version

    # Experiments and runs

    def experiment_service_list_experiments(self, **query: str) -> Any:
        return self._page(api.V2beta1ListExperimentsResponse, "experiments", self.experiments, query)

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
        if not 1 <= int(body.max_concurrency) <= 10 or len(body.trigger.cron_schedule.cron.split()) not in (5, 6):
            raise RefusedError(400, "Invalid input error")
        body.recurring_run_id, body.created_at = self._id("schedule"), self._now()
        body.max_concurrency, body.status = str(body.max_concurrency), f"{body.mode}D"
        self.schedules[body.recurring_run_id] = body
        return body

    def recurring_run_service_list_recurring_runs(self, **query: str) -> Any:
        return self._page(api.V2beta1ListRecurringRunsResponse, "recurring_runs", self.schedules, query)

    def recurring_run_service_delete_recurring_run(self, schedule_id: str) -> Any:
        self._get(self.schedules, schedule_id)
        del self.schedules[schedule_id]

    def recurring_run_service_disable_recurring_run(self, schedule_id: str) -> Any:
        self._get(self.schedules, schedule_id).status = "DISABLED"

    def recurring_run_service_enable_recurring_run(self, schedule_id: str) -> Any:
        self._get(self.schedules, schedule_id).status = "ENABLED"

    # What several of them need

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
        wanted = read_filter(query["filter"]) if query.get("filter") else {}
        found = [
            item
            for item in reversed(items.values())
            if all(getattr(item, key).lower() == value.lower() for key, value in wanted.items())  # as MySQL compares
        ]
        start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 20)
        following = str(start + size) if start + size < len(found) else None
        return answer(**{field: found[start : start + size]}, total_size=len(found), next_page_token=following)

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    def _now(self) -> datetime:
        return START + timedelta(minutes=next(self._numbers))


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        stand_in = self.server.stand_in
        if stand_in.page is not None:
            self._send(200, stand_in.page, "text/html; charset=utf-8")
            return
        try:
            if stand_in.token and self.headers.get("Authorization") != f"Bearer {stand_in.token}":
                raise RefusedError(401, "Unauthenticated")
            content = write_model(self._answer(stand_in, raw)) or {}
            status = 200
        except RefusedError as error:
            status, content = error.status, {"error": str(error), "code": 0, "message": str(error)}
        except Exception as error:  # whatever went wrong, the test has to know
            stand_in.violations.append(f"{self.command} {self.path}: {type(error).__name__}: {error}")
            status, content = 400, {"error": str(error), "code": 3, "message": str(error)}
        self._send(status, json.dumps(content).encode(), "application/json")

    def _answer(self, stand_in: StandIn, raw: bytes) -> Any:
        url = urlsplit(self.path)
        operation, place = find_operation(self.command, url.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        unknown = query.keys() - operation.query
        if unknown:
            raise ViolationError(f"{operation.name} has no query parameters {sorted(unknown)}")
        body: Any = None
        if operation.file:
            body = self._file(raw, operation.file)
        elif operation.body:
            body = read_model(json.loads(raw), operation.body)
        elif raw:
            raise ViolationError(f"{operation.name} has no body, found {raw!r}")
        answer = stand_in.answer(operation, place, query, body)
        if answer is not None and type(answer).__name__ != operation.answer:
            raise ViolationError(f"the stand-in itself is wrong: {operation.name} answers {operation.answer}")
        return answer

    def _file(self, raw: bytes, name: str) -> bytes:
        header = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
        [part] = email.message_from_bytes(header + raw).get_payload()  # type: ignore[misc]
        if part.get_param("name", header="Content-Disposition") != name:  # type: ignore[union-attr]
            raise ViolationError(f"expected a file in the form's field {name}")
        return part.get_payload(decode=True)  # type: ignore[union-attr, return-value]

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    """Serves a stand-in on a free port of this machine, in a thread."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stand_in = StandIn()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
