"""The steps that REST and gRPC share: from a request's tensors to the answer's, errors to codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
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
from serving.server.canary import can_answer_for, join, learner_keys, select
from serving.server.model_signatures import Arrays, Signature, method_mismatch
from serving.server.request_error import QUOTED, RequestError, invalid, quoted
from serving.server.telemetry import ServerMetrics, Tracing

if TYPE_CHECKING:
    from serving.server.canary import Split
    from serving.server.servable import Servable
    from serving.server.served_versions import ServedVersions
    from serving.server.server_settings import ServerSettings
    from serving.server.shadow import Shadow

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
    """The model, and maybe the version, of a request; by default the stable or newest one."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request.

    Attributes:
        outputs: arrays by name.
        version: who answered; None where two versions answered some of the rows each.
    """

    outputs: Arrays
    version: int | None


class Predictor:
    """Answers for one model; belongs to one event loop."""

    def __init__(
        self,
        settings: ServerSettings,
        versions: ServedVersions,
        metrics: ServerMetrics,
        shadow: Shadow | None = None,
    ) -> None:
        self.settings = settings
        self.shadow = shadow
        self.versions = versions
        self.metrics = metrics
        self.admission = Admission(settings.limits.max_requests)
        self.budget = ByteBudget(settings.limits.max_inflight_bytes)
        self.tracing = Tracing(settings.otlp_endpoint)

    @contextmanager
    def request(
        self, entrypoint: str, label: str | None = None, learners: str | None = None
    ) -> Iterator[Asked]:
        """Admits and counts one request to predict.

        Args:
            entrypoint: "REST" or "GRPC".
            label: the version label that it asks for, if any.
            learners: its header `X-Learner`, if any.

        Raises:
            RequestError: whatever the block raises, in a caller's terms; or the server is full.
        """
        started = time.perf_counter()
        status = StatusCode.OK

        try:
            with self.admission.admit():
                self.metrics.requests_in_progress = self.admission.count
                yield Asked(started, label, learners)
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

    async def answer(
        self,
        choice: ModelChoice,
        servable: Servable,
        signature: Signature,
        inputs: Arrays,
        asked: Asked,
    ) -> Answered:
        """Answers one request; some of its rows by the canary, if the request leaves the choice.

        Args:
            choice: what the request asks for.
            servable: the version that it leads to.
            signature: one of its signatures.
            inputs: arrays by name.
            asked: the request.

        Raises:
            RequestError: see `run`; or the header `X-Learner` does not fit.
            tf.errors.OpError: see `run`.
        """
        split = self.versions.split
        leaves_choice = choice.version is None and not choice.label
        if (
            split is not None
            and split.canary is not None
            and leaves_choice
            and split.stable == servable.version
        ):
            return await self._answer_split(split, servable, signature, inputs, asked)
        outputs = await self.run(servable, signature, inputs, asked)
        return Answered(outputs, servable.version)

    async def _answer_split(
        self, split: Split, stable: Servable, signature: Signature, inputs: Arrays, asked: Asked
    ) -> Answered:
        rows = signature.check(inputs, self.settings.limits.max_rows)
        keys = learner_keys(asked.learners, signature, inputs, rows)
        taken = [place for place, key in enumerate(keys) if split.takes(key)]
        if taken and split.canary in self.versions.available:
            with self.versions.lease(split.canary, None) as canary:
                other = canary.model.signatures.get(signature.name)
                if other is not None and can_answer_for(other, signature):
                    found = await self._answer_both(stable, canary, signature, inputs, asked, taken)
                    if found is not None:
                        return found
            self.metrics.routed("unfit", len(taken))
            taken = []
        outputs = await self.run(stable, signature, inputs, asked)
        self.metrics.routed("stable", rows)
        return Answered(outputs, stable.version)

    async def _answer_both(
        self,
        stable: Servable,
        canary: Servable,
        signature: Signature,
        inputs: Arrays,
        asked: Asked,
        taken: Sequence[int],
    ) -> Answered | None:
        """Answers some rows by the canary; returns None if the answers do not fit together.

        Args:
            stable: answers the other rows.
            canary: answers those in `taken`.
            signature: of the stable version; the canary has the same.
            inputs: arrays by name.
            asked: the request.
            taken: places of rows, one or more.
        """
        other = canary.model.signature(signature.name)
        rows = signature.check(inputs, self.settings.limits.max_rows)
        if len(taken) == rows:
            outputs = await self.run(canary, other, inputs, asked)
            self.metrics.routed("canary", rows)
            return Answered({name: outputs[name] for name in signature.outputs}, canary.version)

        left = sorted({*range(rows)} - {*taken})
        parts = (asked.part(left), asked.part(taken))
        answers = await asyncio.gather(
            self.run(stable, signature, select(inputs, left), parts[0]),
            self.run(canary, other, select(inputs, taken), parts[1]),
            return_exceptions=True,
        )
        outputs_of: list[Arrays] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            outputs_of.append(answer)

        joined = join([(left, outputs_of[0]), (taken, outputs_of[1])], rows)
        if joined is None:
            return None
        asked.conclude(parts)
        self.metrics.routed("stable", len(left))
        self.metrics.routed("canary", len(taken))
        return Answered(joined, None)

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
            outputs = await servable.batcher(signature.name).submit(inputs, rows, asked)
        if self.shadow is not None:
            other = self.versions.other_than(servable.version)
            if other is not None:
                self.shadow.offer(other, signature, inputs, rows, asked)
        return outputs

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
