"""The REST API, as TensorFlow Serving has it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from grpc import StatusCode
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

from serving.server import json_forms, metrics
from serving.server.errors import RequestError, invalid
from serving.server.limits import check_token
from serving.server.predictor import ModelChoice, Predictor, as_request_error
from serving.server.signatures import Arrays

log = logging.getLogger("mastery.serving")

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d{1,19})|/labels/([^/:]+))?"
_STATUS = re.compile(_MODEL, re.ASCII)
_METADATA = re.compile(_MODEL + "/metadata", re.ASCII)
_PREDICT = re.compile(_MODEL + ":predict", re.ASCII)
SMALL = 64 * 2**10  # bytes: a body up to this size is read in the event loop, in less than two milliseconds

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


class RestApi:
    """The application; `app` is ASGI's."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._settings = predictor, predictor.settings
        every = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        self.app = Starlette(
            routes=[
                Route(metrics.PATH, self._guarded(self._metrics), methods=["GET"]),
                Route("/{path:path}", self._guarded(self._dispatch), methods=every),
            ]
        )

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """Asks for the token, and turns errors into answers."""

        async def answer(request: Request) -> Response:
            try:
                check_token(self._settings.token, request.headers.get("authorization"))
                return await endpoint(request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it
            except Exception as error:
                known = as_request_error(error)
                if known.code in (StatusCode.INTERNAL, StatusCode.UNKNOWN):
                    log.exception("%s %s", request.method, request.scope["path"])
                headers = {"WWW-Authenticate": "Bearer"} if known.code is StatusCode.UNAUTHENTICATED else None
                return _json(json_forms.encode_error(known.reason), known.http_status, headers)

        return answer

    async def _dispatch(self, request: Request) -> Response:
        path = request.scope["path"]  # of the URL as a whole, the header Host is a part, and may be anything
        if request.method == "POST" and (match := _PREDICT.fullmatch(path)):
            return await self._predict(request, _choice(match))
        if request.method == "GET" and (match := _METADATA.fullmatch(path)):
            return self._metadata(_choice(match))
        if request.method == "GET" and (match := _STATUS.fullmatch(path)):
            response = self._predictor.status(_choice(match))
            return _json(_pretty(MessageToDict(response, preserving_proto_field_name=True, **_ALL)))
        if path.startswith("/v1/"):
            raise invalid(f"Malformed request: {request.method} {path[:500]}")
        raise RequestError(StatusCode.NOT_FOUND, f"Not found: {request.method} {path[:500]}")

    async def _metrics(self, _: Request) -> Response:
        return Response(self._predictor.metrics.page(), media_type=metrics.CONTENT_TYPE)

    async def _predict(self, request: Request, choice: ModelChoice) -> Response:
        with self._predictor.request("REST"):
            async with asyncio.timeout(self._settings.limits.request_timeout):
                body = await self._body(request)
                with self._predictor.lease(choice) as servable:
                    parsed = await _in_thread_if(len(body) > SMALL, json_forms.parse_request, body)
                    signature = servable.model.signature(parsed.signature_name)
                    inputs = await _in_thread_if(len(body) > SMALL, json_forms.decode_inputs, parsed, signature)
                    outputs = await self._predictor.run(servable, signature, inputs)
                    size = sum(values.size for values in outputs.values())
                    return _json(await _in_thread_if(size > SMALL / 16, _encode, outputs, parsed.is_row_form))

    async def _body(self, request: Request) -> bytes:
        """Reads the body, as far as it is allowed to go."""
        most = self._settings.limits.max_request_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
        return b"".join(parts)

    def _metadata(self, choice: ModelChoice) -> Response:
        response = self._predictor.metadata(choice)
        definitions = SignatureDefMap()
        response.metadata["signature_def"].Unpack(definitions)
        document = {
            "model_spec": {
                "name": choice.name, "signature_name": "", "version": str(response.model_spec.version.value)
            },
            "metadata": {"signature_def": MessageToDict(definitions, preserving_proto_field_name=True, **_ALL)},
        }  # fmt: skip
        return _json(_pretty(document))


_ALL = {"always_print_fields_with_no_presence": True}


def _choice(match: re.Match[str]) -> ModelChoice:
    name, version, label = match.groups()
    return ModelChoice(name, int(version) if version else None, label)


def _encode(outputs: Arrays, in_rows: bool) -> bytes:
    return json_forms.encode_outputs(outputs, in_rows=in_rows)


async def _in_thread_if(is_large: bool, function: Callable[..., T], *args: Any) -> T:
    if is_large:
        return await asyncio.to_thread(function, *args)
    return function(*args)


def _too_large(most: int) -> RequestError:
    return RequestError(StatusCode.OUT_OF_RANGE, f"expected a request of at most {most} bytes.")


def _pretty(document: object) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode(errors="replace")


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
