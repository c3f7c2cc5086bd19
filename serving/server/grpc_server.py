"""The gRPC server: the handlers of its methods, who may call them, and its connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import grpc
from grpc import StatusCode

from serving.server.bounds import RELOAD_HEADER, ByteBudget, check_reload_token, check_token
from serving.server.grpc_connection import GrpcConnection
from serving.server.request_error import RequestError, quoted

if TYPE_CHECKING:
    from serving.server.connections import Connections
    from serving.server.grpc_call import GrpcCall
    from serving.server.server_settings import Limits, ServerSettings

HEALTH = "/grpc.health.v1.Health/"
OPEN_METHODS = {f"/inference.GRPCInferenceService/{name}" for name in ("ServerLive", "ServerReady")}
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


class GrpcServer:
    """Answers calls by handlers that are registered as with `grpc.aio.Server`.

    Attributes:
        limits: of connections and calls.
        budget: of bytes, shared with REST.
        connections: the open ones.
    """

    def __init__(self, settings: ServerSettings, budget: ByteBudget) -> None:
        self.limits: Limits = settings.limits
        self.budget = budget
        self.connections: set[GrpcConnection] = set()
        self._token = settings.token
        self._reload_token = settings.reload_token
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Does nothing: generated code registers the same methods below, too."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        """Registers the methods of a service, by their names."""
        for name, handler in handlers.items():
            self._handlers[f"/{service}/{name}"] = handler

    def accept(self, table: Connections, tls: ssl.SSLContext | None) -> GrpcConnection:
        """Returns the protocol of a new connection."""
        return GrpcConnection(self, table, tls)

    def open(self, call: GrpcCall) -> None:
        """Begins to answer a call, or refuses it."""
        try:
            handler = self._handler(call.headers)
        except RequestError as error:
            call.refuse(error)
        else:
            call.start(handler)

    async def stop(self, grace: float) -> None:
        """Answers the calls in progress, for a number of seconds at most."""
        for connection in list(self.connections):
            connection.drain(streams=True)
        end = asyncio.get_running_loop().time() + grace
        while self.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.end(None)

    def _handler(self, headers: Mapping[str, str]) -> grpc.RpcMethodHandler:
        """Returns the handler of a call.

        Probes of health have no token. They learn whether the server answers, and nothing else.

        Raises:
            RequestError: the caller may not call it, or there is none.
        """
        method = headers.get(":path", "")
        if not method.startswith(HEALTH) and method not in OPEN_METHODS:
            check_token(self._token, headers.get("authorization"))
        if method == RELOAD and self._reload_token is not None:
            check_reload_token(self._reload_token, headers.get(RELOAD_HEADER))

        handler = self._handlers.get(method)
        is_grpc = headers.get("content-type", "").startswith("application/grpc")
        if handler is None or not is_grpc or headers.get(":method") != "POST":
            raise RequestError(
                StatusCode.UNIMPLEMENTED,
                f"expected a method of this server, found {quoted(method)}.",
            )
        return handler
