"""The steps that REST and gRPC share: from a request's tensors to the answer's, errors to codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import tensorflow as tf
from grpc import StatusCode
from starlette.requests import ClientDisconnect
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from components.command.escape import shorten
from components.contracts.names import SERVING_DEFAULT
from serving.prediction_log.recorder import Asked
from serving.server.bounds import Admission, ByteBudget
from serving.server.model_signatures import Arrays, Signature, method_mismatch
from serving.server.request_error import QUOTED, RequestError, invalid, quoted
from serving.server.telemetry import ServerMetrics, Tracing

if TYPE_CHECKING:
    from serving.server.servable import Servable
    from serving.server.served_versions import ServedVersions
    from serving.server.server_settings import ServerSettings

SMALL = 64 * 2**10  # bytes: reading such a message takes under 2 ms, so the event loop does it
SMALL_ANSWER = 4 * 2**10  # values: the same for writing outputs

T = TypeVar("T")

_CODES = {code.value[0]: code for code in StatusCode}
# A graph's errors for an input that it cannot take; all others are the server's fault.
_INPUT_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
    tf.errors.FailedPreconditionError,
)
_UNPARSED = "Could not parse example input"


@dataclass(frozen=True)
class ModelChoice:
    """The model, and maybe the version, of a request; by default the newest version."""

    name: str
    version: int | None = None
    label: str | None = None


class Predictor:
    """Answers for one model; belongs to one event loop."""

    def __init__(
        self, settings: ServerSettings, versions: ServedVersions, metrics: ServerMetrics
    ) -> None:
        self.settings = settings
        self.versions = versions
        self.metrics = metrics
        self.admission = Admission(settings.limits.max_requests)
        self.budget = ByteBudget(settings.limits.max_inflight_bytes)
        self.tracing = Tracing(settings.otlp_endpoint)

    @contextmanager
    def request(self, entrypoint: str, label: str | None = None) -> Iterator[Asked]:
        """Admits and counts one request to predict.

        Args:
            entrypoint: "REST" or "GRPC".
            label: the version label that it asks for, if any.

        Raises:
            RequestError: whatever the block raises, in a caller's terms; or the server is full.
        """
        started = time.perf_counter()
        status = StatusCode.OK

        try:
            with self.admission.admit():
                self.metrics.requests_in_progress = self.admission.count
                yield Asked(started, label)
        except asyncio.CancelledError:
            status = StatusCode.CANCELLED
            raise
        except Exception as error:
            known = as_request_error(error)
            status = known.code
            raise known from error
        finally:
            self.metrics.requests_in_progress = self.admission.count
            self.metrics.request(time.perf_counter() - started, status.name, entrypoint)

    @contextmanager
    def lease(self, choice: ModelChoice) -> Iterator[Servable]:
        """Holds the version of a request for the length of the block.

        Raises:
            RequestError: there is no such model, version or label.
        """
        self._check_name(choice)
        with self.versions.lease(choice.version, choice.label) as servable:
            yield servable

    async def run(
        self, servable: Servable, signature: Signature, inputs: Arrays, asked: Asked
    ) -> Arrays:
        """Checks the inputs of one request and answers it, in a batch with others.

        Args:
            servable: the version.
            signature: one of its signatures.
            inputs: arrays by name.
            asked: the request, for the prediction log.

        Raises:
            RequestError: the inputs do not fit, or too many rows are waiting.
            tf.errors.OpError: the graph refuses them.
        """
        rows = signature.check(inputs, self.settings.limits.max_rows)
        self.metrics.rows(rows)
        attributes = {
            "mastery.model.name": self.settings.name,
            "mastery.model.version": servable.version,
            "mastery.model.signature": signature.name,
            "mastery.rows": rows,
        }
        with self.tracing.step("predict", attributes):
            return await servable.batcher(signature.name).submit(inputs, rows, asked)

    def refuse(self, choice: ModelChoice, signature_name: str, method: str) -> RequestError:
        """Returns TensorFlow Serving's refusal to classify or regress with such a signature.

        Args:
            choice: the model.
            signature_name: "" for `serving_default`.
            method: "classification" or "regression".

        Raises:
            RequestError: there is no such model, version or label.
        """
        with self.lease(choice) as servable:
            name = signature_name or SERVING_DEFAULT
            definition = servable.model.definitions.get(name)
            if definition is None:
                shown = shorten(name, QUOTED)
                return invalid(f"No signature was found with the name: {shown}")

            reason = method_mismatch(definition, method)
            if reason is not None:
                return invalid(reason)
            return RequestError(
                StatusCode.UNIMPLEMENTED,
                f"this server has no {method}; call Predict with the signature {name}.",
            )

    def status(self, choice: ModelChoice) -> GetModelStatusResponse:
        """Returns the states of all versions, or of the requested one.

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
        return self.versions.status_response(statuses)

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
                f"Servable not found for request: {quoted(choice.name)}; "
                f"this server has {self.settings.name!r}.",
            )


async def in_thread_if(is_large: bool, function: Callable[..., T], *args: Any) -> T:
    """Calls a function in a thread if it has much to do; else here, which is faster."""
    if is_large:
        return await asyncio.to_thread(function, *args)
    return function(*args)


def as_request_error(error: Exception) -> RequestError:
    """Returns an exception in a caller's terms."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, ClientDisconnect):
        return RequestError(StatusCode.CANCELLED, "the client has gone.")
    if isinstance(error, TimeoutError):
        return RequestError(StatusCode.DEADLINE_EXCEEDED, "the request took too long.")
    if isinstance(error, _INPUT_ERRORS):
        return RequestError(StatusCode.INVALID_ARGUMENT, _reason(error.message))
    if isinstance(error, tf.errors.OpError):
        code = _CODES.get(error.error_code, StatusCode.INTERNAL)
        return RequestError(code, _reason(error.message))
    return RequestError(StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def _reason(message: str) -> str:
    """Strips what means nothing to a caller: the heading, and the names of nodes."""
    _, unparsed, value = message.partition(_UNPARSED)
    if unparsed:  # the value is the caller's, and most serialized examples hold line breaks
        value = value.partition("\n\t [[{{")[0]
        return shorten(" ".join(f"{unparsed}{value}".split()), 2000)

    lines = (line.strip() for line in message.splitlines())
    named = (line for line in lines if line and line != "Graph execution error:")
    useful = [line for line in named if not line.startswith("[[{{")]
    return shorten(useful[-1] if useful else message, 2000)
