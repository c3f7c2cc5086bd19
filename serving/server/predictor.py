"""What REST and gRPC have in common: from a request's tensors to the answer's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import tensorflow as tf
from grpc import StatusCode
from starlette.requests import ClientDisconnect
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from components.contracts.names import SERVING_DEFAULT
from serving.server.bounds import Admission, ByteBudget
from serving.server.model_signatures import Arrays, Signature, method_mismatch
from serving.server.request_error import RequestError, invalid
from serving.server.servable import Servable
from serving.server.served_versions import ServedVersions, status_response
from serving.server.server_settings import ServerSettings
from serving.server.telemetry import ServerMetrics, Tracing

SMALL = (
    64 * 2**10
)  # bytes: a message up to this size is read in the event loop, in less than two milliseconds
SMALL_ANSWER = 4 * 2**10  # values: outputs up to this many are written there

T = TypeVar("T")

_CODES = {code.value[0]: code for code in StatusCode}
# What a graph says of an input that it cannot take; anything else is the server's own trouble.
_CALLERS_FAULT = (
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
    tf.errors.FailedPreconditionError,
)


@dataclass(frozen=True)
class ModelChoice:
    """Which model, and which of its versions, a request is for; neither version nor label means the newest."""

    name: str
    version: int | None = None
    label: str | None = None


class Predictor:
    """Answers for one model; belongs to one event loop."""

    def __init__(
        self, settings: ServerSettings, versions: ServedVersions, metrics: ServerMetrics
    ) -> None:
        self.settings, self.versions, self.metrics = settings, versions, metrics
        self.admission = Admission(settings.limits.max_requests)
        self.budget = ByteBudget(settings.limits.max_inflight_bytes)
        self.tracing = Tracing(settings.otlp_endpoint)
        self.is_stopping = False

    @contextmanager
    def request(self, entrypoint: str) -> Iterator[None]:
        """Admits and counts one request to predict; `entrypoint` is "REST" or "GRPC".

        Raises:
            RequestError: whatever is raised in the block, in the terms of a caller; or the server is full.
        """
        started, status = time.perf_counter(), StatusCode.OK
        try:
            with self.admission.admit():
                self.metrics.requests_under_way = self.admission.count
                yield
        except asyncio.CancelledError:
            status = StatusCode.CANCELLED
            raise
        except Exception as error:
            known = as_request_error(error)
            status = known.code
            raise known from error
        finally:
            self.metrics.requests_under_way = self.admission.count
            self.metrics.request(time.perf_counter() - started, status.name, entrypoint)

    @contextmanager
    def lease(self, choice: ModelChoice) -> Iterator[Servable]:
        """Holds the version that a request is for.

        Raises:
            RequestError: there is no such model, version or label.
        """
        self._check_name(choice)
        with self.versions.lease(choice.version, choice.label) as servable:
            yield servable

    async def run(self, servable: Servable, signature: Signature, inputs: Arrays) -> Arrays:
        """Checks the inputs of one request and answers it, together with others that are there.

        Raises:
            RequestError: the inputs do not fit, or too many rows are waiting.
            tf.errors.OpError: the graph refuses them.
        """
        rows = signature.check(inputs, self.settings.limits.max_rows)
        self.metrics.rows(rows)
        attributes = {
            "mastery.model.name": self.settings.name, "mastery.model.version": servable.version,
            "mastery.model.signature": signature.name, "mastery.rows": rows,
        }  # fmt: skip
        with self.tracing.step("predict", attributes):
            return await servable.batcher(signature.name).submit(inputs, rows)

    def refuse(self, choice: ModelChoice, signature_name: str, method: str) -> RequestError:
        """Returns what TensorFlow Serving answers to Classify or Regress for a signature that is of another method.

        Args:
            choice: which model.
            signature_name: "" for `serving_default`.
            method: "classification" or "regression".

        Raises:
            RequestError: there is no such model, version or label.
        """
        with self.lease(choice) as servable:
            name = signature_name or SERVING_DEFAULT
            definition = servable.model.definitions.get(name)
            if definition is None:
                return invalid(f"No signature was found with the name: {name[:200]}")
            reason = method_mismatch(definition, method)
            if reason is not None:
                return invalid(reason)
            return RequestError(
                StatusCode.UNIMPLEMENTED,
                f"this server has no {method}; ask for the signature {name} with Predict.",
            )

    def status(self, choice: ModelChoice) -> GetModelStatusResponse:
        """Returns the stages of all versions, or of the one that is asked for.

        Raises:
            RequestError: there is no such model, version or label.
        """
        self._check_name(choice)
        statuses = self.versions.status
        version = self.versions.resolve(choice.version, choice.label)
        if version is not None:
            statuses = {number: status for number, status in statuses.items() if number == version}
        if not statuses:
            which = "any versions" if version is None else f"version {version}"
            raise RequestError(
                StatusCode.NOT_FOUND, f"Could not find {which} of model {choice.name}."
            )
        return status_response(statuses)

    def metadata(self, choice: ModelChoice) -> GetModelMetadataResponse:
        """Returns the signatures of a version.

        Raises:
            RequestError: there is no such model, version or label.
        """
        with self.lease(choice) as servable:
            response = GetModelMetadataResponse()
            response.model_spec.name = choice.name
            response.model_spec.version.value = servable.version
            definitions = SignatureDefMap(signature_def=servable.model.definitions)
            response.metadata["signature_def"].Pack(definitions)
            return response

    def _check_name(self, choice: ModelChoice) -> None:
        if choice.name != self.settings.name:
            raise RequestError(
                StatusCode.NOT_FOUND,
                f"Servable not found for request: {choice.name[:200]!r}; this server has {self.settings.name!r}.",
            )


async def in_thread_if(is_large: bool, function: Callable[..., T], *args: Any) -> T:
    """Calls a function: here where it has little to do, for that is faster, else in a thread."""
    if is_large:
        return await asyncio.to_thread(function, *args)
    return function(*args)


def as_request_error(error: Exception) -> RequestError:
    """Says in the terms of a caller what went wrong."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, ClientDisconnect):
        return RequestError(StatusCode.CANCELLED, "the client has gone.")
    if isinstance(error, TimeoutError):
        return RequestError(StatusCode.DEADLINE_EXCEEDED, "the time for a request is over.")
    if isinstance(error, _CALLERS_FAULT):
        return RequestError(StatusCode.INVALID_ARGUMENT, _reason(error.message))
    if isinstance(error, tf.errors.OpError):
        return RequestError(
            _CODES.get(error.error_code, StatusCode.INTERNAL), _reason(error.message)
        )
    return RequestError(StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def _reason(message: str) -> str:
    """Leaves away what says nothing to a caller: the heading, and the names of nodes."""
    lines = [line.strip() for line in message.splitlines()]
    telling = [
        line
        for line in lines
        if line and line != "Graph execution error:" and not line.startswith("[[{{")
    ]
    return (telling[-1] if telling else message)[:2000]
