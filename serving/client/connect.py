"""The client: one model of one server, by whichever way its address says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

from components.command.escape import hide_userinfo
from components.errors import MasteryError
from serving.client.answers import Answer, read_answers
from serving.client.retry import Retry
from serving.client.target import Target

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
            answers += read_answers(outputs, len(part))
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
        from serving.client.rest import RestTransport

        transport = RestTransport(server, target, token=token)
    elif parts.scheme in ("grpc", "grpcs") and port:
        from serving.client.grpc_channel import GrpcTransport

        transport = GrpcTransport(parts.netloc, target, secure=parts.scheme == "grpcs", token=token)
    else:
        raise MasteryError(
            f"server {server}: expected an address such as http://localhost:8501 (REST) or grpc://localhost:8500."
        )
    return Client(transport, retry or Retry(), batch)
