"""The REST API of TensorFlow Serving; requests to `/v2` go to `open_inference_rest`."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc import StatusCode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap

from components.command.escape import shorten
from components.model_version.folders import version_number
from serving.client.calls import LEARNER_HEADER
from serving.prediction_log.settings import HEADER, LOG_HEADERS
from serving.server.bounds import body_of, check_token
from serving.server.json_requests import JsonProcess, Read, parse_examples_request, read_request
from serving.server.json_tensors import encode_error, encode_outputs
from serving.server.open_inference import HEADER_LENGTH
from serving.server.open_inference_rest import LIVE, READY, OpenInferenceRest
from serving.server.predictor import (
    SMALL,
    SMALL_ANSWER,
    ModelChoice,
    Predictor,
    as_request_error,
    in_thread_if,
)
from serving.server.request_error import RequestError, invalid
from serving.server.telemetry import METRICS_CONTENT_TYPE, METRICS_PATH, note_http_status

if TYPE_CHECKING:
    from serving.server.model_signatures import Arrays, Signature
    from serving.server.servable import Servable

log = logging.getLogger("mastery.serving")

# As in TensorFlow Serving, the words of a path may be in capitals, but not names and methods.
_MODEL = r"(?i:/v1/models)/([^/:]+)(?:(?i:/versions)/(\d+)|(?i:/labels)/([^/:]+))?"
_STATUS = re.compile(_MODEL, re.ASCII)
_METADATA = re.compile(_MODEL + "(?i:/metadata)", re.ASCII)
_METHOD = re.compile(_MODEL + ":(predict|classify|regress)", re.ASCII)
_METHODS = {"classify": "classification", "regress": "regression"}
_ROUTE = re.compile(
    r"((?i:/v1/models)/|/v2/models/)[^/:]+(?:/(?i:(versions|labels))/[^/:]+)?"
    r"(:[a-z]+|/(?i:metadata)|/ready|/infer)?"
)
# What a page of another origin may send in addition to what every page may.
_CORS_HEADERS = (
    "authorization", "content-type", HEADER_LENGTH, LEARNER_HEADER, "traceparent", "tracestate",
)  # fmt: skip

Endpoint = Callable[[Request], Awaitable[Response]]


class RestApi:
    """The REST API; `app` is its ASGI application."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._settings = predictor.settings
        self._pages: WeakKeyDictionary[Servable, bytes] = WeakKeyDictionary()
        self._json = JsonProcess(self._settings.limits.max_request_bytes)
        self._v2 = OpenInferenceRest(predictor, self._body, self._json)

        every = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=self._settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=_CORS_HEADERS,
            expose_headers=[HEADER_LENGTH, HEADER],
        )
        self.app = Starlette(
            routes=[
                Route(LIVE, self._answered(self._v2.health), methods=["GET"]),
                Route(READY, self._answered(self._v2.health), methods=["GET"]),
                Route(METRICS_PATH, self._guarded(self._metrics), methods=["GET"]),
                Route("/{path:path}", self._guarded(self._dispatch), methods=every),
            ],
            middleware=[cors] if self._settings.cors_origins else [],
        )

    def close(self) -> None:
        """Ends the process that reads large requests."""
        self._json.close()

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """Returns an endpoint that checks the token first."""

        async def answer(request: Request) -> Response:
            check_token(self._settings.token, request.headers.get("authorization"))
            return await endpoint(request)

        return self._answered(answer)

    def _answered(self, endpoint: Endpoint) -> Endpoint:
        """Returns an endpoint that answers exceptions and traces each request as a span."""

        async def answer(request: Request) -> Response:
            route = _route(request.scope["path"])
            # Not from `request.url`: the header Host is part of it and may hold anything.
            attributes = {
                "http.request.method": request.method,
                "url.scheme": request.scope["scheme"],
                "http.route": route,
            }
            name = f"{request.method} {route}".strip()
            with self._predictor.tracing.request(name, request.headers, attributes) as span:
                response = await _answer_errors(endpoint, request)
                note_http_status(span, response.status_code)
                return response

        return answer

    async def _dispatch(self, request: Request) -> Response:
        path = request.scope["path"]  # not from `request.url`, see `_answered`
        if path == "/v2" or path.startswith("/v2/"):
            return await self._v2.answer(request)

        if request.method == "POST" and (match := _METHOD.fullmatch(path)):
            if match[4] == "predict":
                return await self._predict(request, _choice(match))
            return await self._refuse(request, _choice(match), _METHODS[match[4]])
        if request.method == "GET" and (match := _METADATA.fullmatch(path)):
            return self._metadata(_choice(match))
        if request.method == "GET" and (match := _STATUS.fullmatch(path)):
            return _json(_pretty(_fields(self._predictor.status(_choice(match)))))

        where = f"{request.method} {shorten(path, 500)}"
        if path.lower().startswith("/v1/"):
            raise invalid(f"Malformed request: {where}")
        raise RequestError(StatusCode.NOT_FOUND, f"Not found: {where}")

    async def _metrics(self, _: Request) -> Response:
        return Response(self._predictor.metrics.page(), media_type=METRICS_CONTENT_TYPE)

    async def _predict(self, request: Request, choice: ModelChoice) -> Response:
        predictor = self._predictor
        async with self._body(request) as sent:
            learners = request.headers.get(LEARNER_HEADER)
            with predictor.request("REST", choice.label, learners) as asked:
                async with asyncio.timeout(self._settings.limits.request_timeout):
                    with predictor.lease(choice) as servable:
                        name, in_rows, inputs = await self._read(sent, servable.model.signatures)
                        signature = servable.model.signature(name)
                        assert inputs is not None  # they are read for every known signature
                        answered = await predictor.answer(
                            choice, servable, signature, inputs, asked
                        )
                        outputs = answered.outputs

                        is_large = sum(values.size for values in outputs.values()) > SMALL_ANSWER
                        body = await in_thread_if(is_large, _encode, outputs, in_rows)
                        return _json(body, headers=LOG_HEADERS if asked.is_logged else None)

    async def _refuse(self, request: Request, choice: ModelChoice, method: str) -> Response:
        """Refuses `:classify` and `:regress` as TensorFlow Serving does for another method."""
        async with self._body(request) as body:
            with self._predictor.request("REST"):
                is_large = len(body) > SMALL
                name = await in_thread_if(is_large, parse_examples_request, body)
                raise self._predictor.refuse(choice, name, method)

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the whole body, and counts a request whose body is refused."""
        started = time.perf_counter()
        has_arrived = False
        try:
            async with body_of(request, self._settings.limits, self._predictor.budget) as body:
                has_arrived = True
                yield body
        except (RequestError, ClientDisconnect, asyncio.CancelledError) as error:
            if not has_arrived:
                code = error.code if isinstance(error, RequestError) else StatusCode.CANCELLED
                self._predictor.metrics.request(time.perf_counter() - started, code.name, "REST")
            raise

    async def _read(self, body: bytes, signatures: Mapping[str, Signature]) -> Read:
        if len(body) > SMALL:
            return await self._json.read(body, signatures, read_request)
        return read_request(body, signatures)

    def _metadata(self, choice: ModelChoice) -> Response:
        with self._predictor.lease(choice) as servable:
            # A page never changes, and writing it takes longer than predicting.
            if servable not in self._pages:
                self._pages[servable] = _metadata_page(self._predictor.metadata(choice))
            return _json(self._pages[servable])


async def _answer_errors(endpoint: Endpoint, request: Request) -> Response:
    """Answers a request, and turns an exception into an answer."""
    try:
        return await endpoint(request)
    except Exception as error:
        known = as_request_error(error)
        if known.code in (StatusCode.INTERNAL, StatusCode.UNKNOWN):
            log.exception("%s %s", request.method, request.scope["path"])

        headers = {}
        if known.code is StatusCode.UNAUTHENTICATED:
            headers["WWW-Authenticate"] = "Bearer"
        return _json(encode_error(known.reason), known.http_status, headers)


def _choice(match: re.Match[str]) -> ModelChoice:
    name, version, label = match.group(1, 2, 3)
    number = version_number(version) if version else None
    if version and number is None:
        raise invalid(f"Failed to convert version: {shorten(version, 100)} to numeric.")
    return ModelChoice(name, number, label)


def _route(path: str) -> str:
    """Returns a path without its names, which are unlimited in number; "" for an unknown path."""
    if path in (LIVE, READY, METRICS_PATH, "/v2"):
        return path
    match = _ROUTE.fullmatch(path)
    if match is None:
        return ""

    start, kind, end = match.groups()
    version = f"/{kind.lower()}/{{{kind.lower()[:-1]}}}" if kind else ""
    return f"{start.lower()}{{model}}{version}{end or ''}"


def _encode(outputs: Arrays, in_rows: bool) -> bytes:
    return encode_outputs(outputs, in_rows=in_rows)


def _metadata_page(response: GetModelMetadataResponse) -> bytes:
    definitions = SignatureDefMap()
    response.metadata["signature_def"].Unpack(definitions)
    spec = response.model_spec
    model_spec = {"name": spec.name, "signature_name": "", "version": str(spec.version.value)}
    metadata = {"signature_def": _fields(definitions)}
    return _pretty({"model_spec": model_spec, "metadata": metadata})


def _fields(message: Message) -> dict[str, object]:
    fields: dict[str, object] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields


def _pretty(document: object) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode(errors="replace")


def _json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
