"""The Open Inference Protocol by REST: `/v2`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from grpc import StatusCode
from starlette.requests import Request
from starlette.responses import Response

from components.command.escape import shorten
from serving.client.calls import LEARNER_HEADER
from serving.prediction_log.settings import LOG_HEADERS
from serving.server.json_tensors import encode_json
from serving.server.open_inference import (
    HEADER_LENGTH,
    SIGNATURE_NAME,
    InferQuestion,
    datatype,
    json_length,
    read_question,
)
from serving.server.open_inference_metadata import (
    model_choice,
    model_metadata,
    requested_outputs,
    server_metadata,
    to_raw,
)
from serving.server.predictor import SMALL, SMALL_ANSWER, ModelChoice, Predictor, in_thread_if
from serving.server.request_error import RequestError

if TYPE_CHECKING:
    from serving.prediction_log.recorder import Asked
    from serving.server.json_requests import JsonProcess
    from serving.server.model_signatures import Arrays, Signature
    from serving.server.servable import Servable

LIVE, READY = "/v2/health/live", "/v2/health/ready"  # for probes, which have no token

_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")
_ACTIONS = {("GET", None), ("GET", "ready"), ("POST", "infer")}

Body = Callable[[Request], AbstractAsyncContextManager[bytes]]


def encode_infer_answer(
    head: Mapping[str, Any], outputs: Arrays, signature: Signature, requested: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    """Returns the body of an answer, and how much of it is JSON; None if all is.

    Args:
        head: `model_name` and the like.
        outputs: arrays by name.
        signature: theirs.
        requested: names of the outputs, and whether each is sent as raw bytes.

    Raises:
        RequestError: JSON has no such values.
    """
    items, parts = [], []
    for name, is_raw in requested.items():
        values = outputs[name]
        item: dict[str, Any] = {
            "name": name,
            "datatype": datatype(signature.outputs[name]),
            "shape": list(values.shape),
        }
        if is_raw:
            parts.append(to_raw(values))
            item["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            item["data"] = encode_json(name, values.reshape(-1))
        items.append(item)

    text = json.dumps({**head, "outputs": items}, ensure_ascii=False).encode(errors="replace")
    return b"".join([text, *parts]), len(text) if parts else None


class OpenInferenceRest:
    """Answers requests to `/v2`."""

    def __init__(self, predictor: Predictor, body: Body, json_process: JsonProcess) -> None:
        """Takes what all requests share.

        Args:
            predictor: answers.
            body: reads a request's body, for the length of a block.
            json_process: reads large requests.
        """
        self._predictor = predictor
        self._body = body
        self._json = json_process

    async def health(self, request: Request) -> Response:
        """Reports that the server runs, or whether a version is available.

        Raises:
            RequestError: no version is available.
        """
        if request.scope["path"] == READY and not self._predictor.versions.available:
            name = self._predictor.settings.name
            raise RequestError(StatusCode.UNAVAILABLE, f"no version of {name} is available yet.")
        return Response(status_code=200)

    async def answer(self, request: Request) -> Response:
        """Answers any other request.

        Raises:
            RequestError: there is no such path, model, version or signature, or the request cannot
                be answered.
        """
        path = request.scope["path"]
        if request.method == "GET" and path.rstrip("/") == "/v2":
            return _json(server_metadata())

        match = _MODEL.fullmatch(path)
        if match is None or (request.method, match[3]) not in _ACTIONS:
            where = f"{request.method} {shorten(path, 500)}"
            raise RequestError(StatusCode.NOT_FOUND, f"Not found: {where}")

        choice = model_choice(match[1], match[2] or "")
        if match[3] == "infer":
            return await self._infer(request, choice)
        if match[3] == "ready":
            return self._ready(choice)
        return self._metadata(request, choice)

    def _ready(self, choice: ModelChoice) -> Response:
        with self._predictor.lease(choice):
            return Response(status_code=200)

    def _metadata(self, request: Request, choice: ModelChoice) -> Response:
        name = request.query_params.get(SIGNATURE_NAME, "")
        available = self._predictor.versions.available
        with self._predictor.lease(choice) as servable:
            return _json(model_metadata(servable, choice.name, available, name))

    async def _infer(self, request: Request, choice: ModelChoice) -> Response:
        predictor = self._predictor
        header_length = request.headers.get(HEADER_LENGTH)
        async with self._body(request) as body:
            learners = request.headers.get(LEARNER_HEADER)
            with predictor.request("REST", choice.label, learners) as asked:
                async with asyncio.timeout(predictor.settings.limits.request_timeout):
                    with predictor.lease(choice) as servable:
                        question = await self._read(body, header_length, servable)
                        answer = await self._answer(question, choice, servable, asked)
        return _infer_response(*answer, LOG_HEADERS if asked.is_logged else {})

    async def _answer(
        self, question: InferQuestion, choice: ModelChoice, servable: Servable, asked: Asked
    ) -> tuple[bytes, int | None]:
        signature = servable.model.signature(question.signature_name)
        requested = requested_outputs(question.request, signature)
        inputs = question.inputs
        answered = await self._predictor.answer(choice, servable, signature, inputs, asked)
        outputs = answered.outputs

        head = {"model_name": choice.name}
        if answered.version is not None:
            head["model_version"] = str(answered.version)
        if question.request.id:
            head["id"] = question.request.id
        is_large = sum(outputs[name].size for name in requested) > SMALL_ANSWER
        return await in_thread_if(
            is_large, encode_infer_answer, head, outputs, signature, requested
        )

    async def _read(
        self, body: bytes, header_length: str | None, servable: Servable
    ) -> InferQuestion:
        signatures = servable.model.signatures
        if json_length(body, header_length) > SMALL:
            reader = partial(read_question, header_length=header_length)
            return await self._json.read(body, signatures, reader)
        return await in_thread_if(len(body) > SMALL, read_question, body, signatures, header_length)


def _infer_response(body: bytes, json_bytes: int | None, headers: Mapping[str, str]) -> Response:
    if json_bytes is None:
        return Response(body, 200, headers, media_type="application/json")
    headers = {**headers, HEADER_LENGTH: str(json_bytes)}
    return Response(body, 200, headers, media_type="application/octet-stream")


def _json(document: object) -> Response:
    text = json.dumps(document, ensure_ascii=False)
    return Response(text.encode(errors="replace"), media_type="application/json")
