"""The client of one model on one server, reached by REST or gRPC as its address says."""

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

BATCH = 64  # examples per request: the max_batch_size of configs/serving/overlays/cpu


@dataclass(frozen=True)
class Answer:
    """The answer for one example.

    Attributes:
        basis: `sequence`, or `prior` for a learner with too few events.
        predicted_class: the most probable class; None from a regression.
        probabilities: by class, lowest class first; None from a regression.
        prediction: the predicted number; None from a classification.
    """

    basis: str
    predicted_class: str | None = None
    probabilities: Mapping[str, float] | None = None
    prediction: float | None = None


def parse_answers(outputs: Mapping[str, Sequence[Any]], count: int) -> list[Answer]:
    """Returns the answers in the order of the examples.

    Args:
        outputs: columns of `serving_default`, text as str: `classes` and `probabilities` [B][C],
            `predicted_class` and `basis` [B]; or `prediction` and `basis` [B].
        count: B, the number of examples.

    Raises:
        PredictError: an output is missing, or has another length.

    >>> parse_answers({"prediction": [0.8], "basis": ["sequence"]}, count=1)[0].prediction
    0.8
    """
    is_regression = PREDICTION in outputs
    classification = (CLASSES, PROBABILITIES, PREDICTED_CLASS, BASIS)
    names = (PREDICTION, BASIS) if is_regression else classification
    lengths = {name: len(outputs[name]) if name in outputs else None for name in names}
    if set(lengths.values()) != {count}:
        raise PredictError(
            f"expected {count} answers in each of {', '.join(names)}, found {lengths}."
        )

    rows = zip(*(outputs[name] for name in names), strict=True)
    if is_regression:
        return [Answer(basis, prediction=number) for number, basis in rows]
    return [
        Answer(basis, predicted, dict(zip(classes, probabilities, strict=True)))
        for classes, probabilities, predicted, basis in rows
    ]


class Transport(Protocol):
    """The connection to a server, by REST or gRPC."""

    def predict(self, examples: Sequence[bytes], timeout: float) -> dict[str, list[Any]]:
        """Returns the outputs for serialized examples."""

    def close(self) -> None:
        """Closes connections."""


class Client:
    """Asks a model for answers, and tries again if that may help; made by `connect`."""

    def __init__(self, transport: Transport, retry: Retry, batch: int = BATCH) -> None:
        self._transport = transport
        self._retry = retry
        self._batch = batch

    def predict(self, examples: Sequence[bytes]) -> list[Answer]:
        """Returns the answers for serialized `tf.Example`s, in their order.

        Raises:
            PredictError: a request was refused, or no attempts or no time are left for it. The
                deadline applies to each request.
        """
        answers: list[Answer] = []
        for start in range(0, len(examples), self._batch):
            part = examples[start : start + self._batch]
            outputs = self._retry.call(partial(self._transport.predict, part))
            answers += parse_answers(outputs, len(part))
        return answers

    def close(self) -> None:
        """Closes connections."""
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
    """Returns a client; it sends nothing before the first request.

    Args:
        server: `http://host:8501` and `https://` for REST, `grpc://host:8500` and `grpcs://` (TLS)
            for gRPC.
        model: its name.
        version: number of a version; by default the highest that the server has loaded.
        label: a version label, such as `stable`, instead of a number.
        retry: attempts and deadline of each request.
        batch: examples per request, at most; a server that batches refuses more than its
            max_batch_size.
        token: sent as `Authorization: Bearer`; TensorFlow Serving itself needs none.

    Raises:
        MasteryError: the address is of another kind or holds a password, or both a version and a
            label are given.

    >>> patient = Retry(attempts=10, deadline=60.0)
    >>> with connect(SERVER, model="sample", label="stable", retry=patient) as client:
    ...     [answer] = client.predict(EXAMPLES)
    >>> {name: round(value, 2) for name, value in answer.probabilities.items()}
    {'low': 0.2, 'middle': 0.3, 'high': 0.5}
    """
    if hide_userinfo(server) != server:
        raise MasteryError(
            f"server {hide_userinfo(server)}: expected an address without user name and password, "
            "found some before the @. Give a token as `token` instead."
        )
    target = Target(model, version, label)
    transport = _transport(server, target, token)
    return Client(transport, retry or Retry(), batch)


def _transport(server: str, target: Target, token: str | None) -> Transport:
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:  # unbalanced brackets, or an invalid port
        parts, port = urlsplit(""), None

    if parts.scheme in ("http", "https") and parts.netloc:
        from serving.client.rest_transport import RestTransport

        return RestTransport(server, target, token=token)
    if parts.scheme in ("grpc", "grpcs") and port:
        from serving.client.grpc_transport import GrpcTransport

        is_secure = parts.scheme == "grpcs"
        return GrpcTransport(parts.netloc, target, secure=is_secure, token=token)
    raise MasteryError(
        f"server {server}: expected an address such as http://localhost:8501 (REST) or "
        "grpc://localhost:8500."
    )
