"""The client: one model of one server, reached by REST or gRPC as its address says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

from components.command.escape import hide_userinfo
from components.contracts.names import BASIS, CLASSES, PREDICTED_CLASS, PREDICTION, PROBABILITIES
from components.errors import MasteryError
from serving.client.calls import PredictError, Retry, Target

BATCH = 64  # examples in a request: what a server that batches takes at most (configs/serving/overlays/cpu)


class Transport(Protocol):
    """A way to a server."""

    def predict(self, examples: Sequence[bytes], timeout: float) -> dict[str, list[Any]]:
        """Returns the outputs for serialized examples."""

    def close(self) -> None:
        """Gives connections back."""


class Client:
    """Asks a model, again where that may help, and returns what it answers."""

    def __init__(self, transport: Transport, retry: Retry, batch: int = BATCH) -> None:
        self._transport, self._retry, self._batch = transport, retry, batch

    def predict(self, examples: Sequence[bytes]) -> list[Answer]:
        """Returns the answers for serialized `tf.Example`s, in their order.

        Raises:
            PredictError: a request was refused, or attempts or time ran out. The deadline is one request's.
        """
        answers: list[Answer] = []
        for start in range(0, len(examples), self._batch):
            part = examples[start : start + self._batch]
            predict = partial(self._transport.predict, part)
            outputs = self._retry.call(predict)
            answers += parse_answers(outputs, len(part))
        return answers

    def close(self) -> None:
        """Gives connections back."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(
    server: str,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    retry: Retry | None = None,
    batch: int = BATCH,
    token: str | None = None,
) -> Client:
    """Returns a client; nothing is sent before the first question.

    Args:
        server: `http://host:8501` and `https://` for REST, `grpc://host:8500` and `grpcs://` (TLS) for gRPC.
        model: its name.
        version: number of a version; default: the highest that the server has loaded.
        label: a version label, such as `stable`, instead of a number.
        retry: attempts and deadline of each request.
        batch: examples in a request, at most; a server that batches refuses more than its max_batch_size.
        token: what the server wants as `Authorization: Bearer`; TensorFlow Serving itself wants nothing.

    Raises:
        MasteryError: the address is of another kind or has a password in it, or both a version and a
            label are given.
    """
    if hide_userinfo(server) != server:
        raise MasteryError(
            f"server {hide_userinfo(server)}: expected an address without user name and password, "
            "found some in front of the @. A token is given by itself."
        )
    target = Target(model, version, label)
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:  # brackets that do not close, a port that is none
        parts, port = urlsplit(""), None
    transport: Transport
    if parts.scheme in ("http", "https") and parts.netloc:
        from serving.client.rest_transport import RestTransport

        transport = RestTransport(server, target, token=token)
    elif parts.scheme in ("grpc", "grpcs") and port:
        from serving.client.grpc_transport import GrpcTransport

        transport = GrpcTransport(parts.netloc, target, secure=parts.scheme == "grpcs", token=token)
    else:
        raise MasteryError(
            f"server {server}: expected an address such as http://localhost:8501 (REST) or grpc://localhost:8500."
        )
    return Client(transport, retry or Retry(), batch)


@dataclass(frozen=True)
class Answer:
    """The answer for one example.

    Attributes:
        basis: `sequence`, or `prior` for a learner with too few events.
        predicted_class: the most probable class; None from a regression.
        probabilities: by class, lowest class first; empty from a regression.
        prediction: the predicted number; None from a classification.
    """

    basis: str
    predicted_class: str | None = None
    probabilities: Mapping[str, float] | None = None
    prediction: float | None = None


def parse_answers(outputs: Mapping[str, Sequence[Any]], count: int) -> list[Answer]:
    """Returns the answers in the order of the examples.

    Args:
        outputs: the columns of `serving_default`, text as str: `classes` and `probabilities` [B][C],
            `predicted_class` and `basis` [B]; or `prediction` and `basis` [B].
        count: B, how many were asked for.

    Raises:
        PredictError: an output is missing, or has another length.
    """
    names = (
        (PREDICTION, BASIS)
        if PREDICTION in outputs
        else (CLASSES, PROBABILITIES, PREDICTED_CLASS, BASIS)
    )
    lengths = {name: len(outputs[name]) if name in outputs else None for name in names}
    if set(lengths.values()) != {count}:
        raise PredictError(
            f"expected {count} answers in each of {', '.join(names)}, found {lengths}."
        )
    if PREDICTION in outputs:
        return [
            Answer(basis=basis, prediction=number)
            for number, basis in zip(outputs[PREDICTION], outputs[BASIS], strict=True)
        ]
    return [
        Answer(basis, predicted, dict(zip(classes, probabilities, strict=True)))
        for classes, probabilities, predicted, basis in zip(
            *(outputs[name] for name in names), strict=True
        )
    ]
