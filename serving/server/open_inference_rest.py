"""The Open Inference Protocol by REST: `/v2`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.metadata import version
from typing import Any

from grpc import StatusCode
from starlette.requests import Request
from starlette.responses import Response

from components.model_version.folders import version_number
from serving.server.json_requests import JsonProcess
from serving.server.json_tensors import encode_json
from serving.server.model_signatures import Arrays, Signature, TensorSpec
from serving.server.open_inference import (
    HEADER_LENGTH,
    SIGNATURE_NAME,
    InferQuestion,
    InferRequest,
    datatype,
    json_length,
    read_question,
    to_raw,
    wire_shape,
)
from serving.server.predictor import SMALL, SMALL_ANSWER, ModelChoice, Predictor, in_thread_if
from serving.server.request_error import RequestError, invalid, listed
from serving.server.servable import Servable

LIVE, READY = "/v2/health/live", "/v2/health/ready"  # asked by probes, which have no token


_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")


Body = Callable[[Request], AbstractAsyncContextManager[bytes]]


def model_choice(name: str, version_or_label: str) -> ModelChoice:
    """Returns which model a request is for: the protocol's versions are texts, so a label may stand for one.

    >>> model_choice("sample", "12").version, model_choice("sample", "stable").label
    (12, 'stable')
    """
    if not version_or_label:
        return ModelChoice(name)
    number = version_number(version_or_label)
    return (
        ModelChoice(name, number)
        if number is not None
        else ModelChoice(name, label=version_or_label)
    )


def server_metadata() -> dict[str, Any]:
    """Returns name and version of this server, and what it has beyond the protocol."""
    return {"name": "mastery", "version": version("mastery"), "extensions": list(EXTENSIONS)}


def model_metadata(
    servable: Servable, name: str, available: list[int], signature_name: str = ""
) -> dict[str, Any]:
    """Returns the tensors of a signature; the protocol knows one of a model, so it is `serving_default` if not named.

    Raises:
        RequestError: there is no such signature, or the protocol has no name for a tensor's dtype.
    """
    signature = servable.model.signature(signature_name)
    return {
        "name": name,
        "versions": [str(number) for number in available],
        "platform": PLATFORM,
        "inputs": [tensor_metadata(spec) for spec in signature.inputs.values()],
        "outputs": [tensor_metadata(spec) for spec in signature.outputs.values()],
    }


class OpenInferenceRest:
    """Answers requests to `/v2`."""

    def __init__(self, predictor: Predictor, body: Body, json_process: JsonProcess) -> None:
        """Makes one.

        Args:
            predictor: answers.
            body: reads a request's body, for the length of a block.
            json_process: reads what is large.
        """
        self._predictor, self._body, self._json = predictor, body, json_process

    async def health(self, request: Request) -> Response:
        """Says whether the server runs, and whether a version answers."""
        if request.scope["path"] == READY and not self._predictor.versions.available:
            raise RequestError(
                StatusCode.UNAVAILABLE,
                f"no version of {self._predictor.settings.name} answers yet.",
            )
        return Response(status_code=200)

    async def answer(self, request: Request) -> Response:
        """Answers any other request.

        Raises:
            RequestError: there is no such path, model, version or signature, or the request cannot be answered.
        """
        path = request.scope["path"]
        if request.method == "GET" and path.rstrip("/") == "/v2":
            return _json(server_metadata())
        match = _MODEL.fullmatch(path)
        if match and (request.method, match[3]) in (
            ("GET", None),
            ("GET", "ready"),
            ("POST", "infer"),
        ):
            choice = model_choice(match[1], match[2] or "")
            if match[3] == "infer":
                return await self._infer(request, choice)
            return self._ready(choice) if match[3] else self._metadata(request, choice)
        raise RequestError(StatusCode.NOT_FOUND, f"Not found: {request.method} {path[:500]}")

    def _ready(self, choice: ModelChoice) -> Response:
        with self._predictor.lease(choice):
            return Response(status_code=200)

    def _metadata(self, request: Request, choice: ModelChoice) -> Response:
        name = request.query_params.get(SIGNATURE_NAME, "")
        with self._predictor.lease(choice) as servable:
            return _json(
                model_metadata(servable, choice.name, self._predictor.versions.available, name)
            )

    async def _infer(self, request: Request, choice: ModelChoice) -> Response:
        predictor, header_length = self._predictor, request.headers.get(HEADER_LENGTH)
        async with self._body(request) as body:
            with predictor.request("REST"):
                async with asyncio.timeout(predictor.settings.limits.request_timeout):
                    with predictor.lease(choice) as servable:
                        question = await self._read(body, header_length, servable)
                        signature = servable.model.signature(question.signature_name)
                        wanted = wanted_outputs(question.request, signature)
                        outputs = await predictor.run(servable, signature, question.inputs)

                        head = {"model_name": choice.name, "model_version": str(servable.version)}
                        head |= {"id": question.request.id} if question.request.id else {}
                        is_large = sum(outputs[name].size for name in wanted) > SMALL_ANSWER
                        answer = await in_thread_if(
                            is_large, encode_infer_answer, head, outputs, signature, wanted
                        )
        return _infer_response(*answer)

    async def _read(
        self, body: bytes, header_length: str | None, servable: Servable
    ) -> InferQuestion:
        signatures = servable.model.signatures
        if json_length(body, header_length) > SMALL:
            return await self._json.read(
                body, signatures, partial(read_question, header_length=header_length)
            )
        return await in_thread_if(len(body) > SMALL, read_question, body, signatures, header_length)


def _infer_response(body: bytes, json_bytes: int | None) -> Response:
    if json_bytes is None:
        return Response(body, media_type="application/json")
    return Response(
        body, 200, {HEADER_LENGTH: str(json_bytes)}, media_type="application/octet-stream"
    )


def _json(document: object) -> Response:
    return Response(
        json.dumps(document, ensure_ascii=False).encode(errors="replace"),
        media_type="application/json",
    )


PLATFORM = "tensorflow_savedmodel"


EXTENSIONS = ("binary_tensor_data",)


def wanted_outputs(request: InferRequest, signature: Signature) -> dict[str, bool]:
    """Returns the outputs that a request wants, and whether as raw bytes.

    Raises:
        RequestError: there is no such output.
    """
    unknown = sorted(request.outputs.keys() - signature.outputs.keys())
    if unknown:
        raise invalid(
            f"outputs: expected some of {', '.join(signature.outputs)}; found {listed(unknown)}; the signature is "
            f"{signature.name}."
        )
    return dict(request.outputs) or dict.fromkeys(signature.outputs, request.is_raw)


def tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    """Returns name, datatype and shape of an input or output; -1 stands for any size."""
    return {"name": spec.name, "datatype": datatype(spec), "shape": wire_shape(spec)}


def encode_infer_answer(
    head: Mapping[str, Any], outputs: Arrays, signature: Signature, wanted: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    """Returns the body of an answer, and how much of it is JSON; None where all is.

    Args:
        head: `model_name` and the like.
        outputs: arrays by name.
        signature: theirs.
        wanted: names of the outputs, and whether each goes as raw bytes.

    Raises:
        RequestError: JSON has no such values.
    """
    items, parts = [], []
    for name, is_raw in wanted.items():
        values, spec = outputs[name], signature.outputs[name]
        item: dict[str, Any] = {
            "name": name,
            "datatype": datatype(spec),
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
