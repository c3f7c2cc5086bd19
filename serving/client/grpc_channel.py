"""Asking by gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from components.contracts.names import EXAMPLES, SERVING_DEFAULT
from serving.client import wire
from serving.client.errors import PredictError, Transient
from serving.client.target import Target
from serving.client.tensors import text_tensor, to_lists

# One connection to each address behind a name, in turn; gRPC's own retries are off, as Retry does them.
OPTIONS = [
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
]


class GrpcTransport:
    """Sends Predict requests over one channel, which is kept open."""

    def __init__(
        self, address: str, target: Target, *, secure: bool, token: str | None = None
    ) -> None:
        """Binds the transport; nothing is sent yet.

        Args:
            address: host and port, or any other of gRPC's names, such as `dns:///serving-pods:8500`.
            target: the model.
            secure: whether the server speaks TLS.
            token: what the server wants to be shown, if anything; use TLS with one.
        """
        self._address, self._target = address, target
        self._metadata = [("authorization", f"Bearer {token}")] if token else None
        if secure:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, OPTIONS)
        self._predict = self._channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )

    def predict(self, examples: Sequence[bytes], timeout: float) -> dict[str, list[Any]]:
        """Returns the outputs for serialized examples.

        Raises:
            Transient: the server is not there or takes no request now.
            PredictError: it refuses the request, or has not answered in `timeout` seconds.
        """
        try:
            request = predict_request(self._target, examples)
            response = self._predict(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code, text = error.code(), str(error.details()).rstrip(".")
            found = f"{self._address}, {self._target.describe()}: expected answers, found {code.name}: {text}."
            if code == grpc.StatusCode.UNAVAILABLE:
                raise Transient(found) from error
            raise PredictError(found) from error
        return {name: to_lists(tensor) for name, tensor in response.outputs.items()}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


def predict_request(target: Target, examples: Sequence[bytes]) -> Any:
    """Returns the PredictRequest about serialized examples."""
    request = wire.PredictRequest()
    request.model_spec.name = target.model
    request.model_spec.signature_name = SERVING_DEFAULT
    if target.version is not None:
        request.model_spec.version.value = target.version
    if target.label is not None:
        request.model_spec.version_label = target.label
    request.inputs[EXAMPLES].CopyFrom(text_tensor(examples))
    return request
