"""The embedded server: its ports, its start, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import uvicorn

from components.errors import MasteryError
from serving.prediction_log.recorder import Recorder
from serving.server.connections import (
    BACKLOG,
    Connections,
    Phase,
    Quiet,
    possible_connections,
    raise_descriptor_limit,
)
from serving.server.grpc_connection import PING_SECONDS
from serving.server.grpc_server import GrpcServer
from serving.server.grpc_service import GrpcApi, Health, add_reflection
from serving.server.http_protocol import BoundedHttp
from serving.server.predictor import Predictor
from serving.server.rest_api import RestApi
from serving.server.served_versions import ServedVersions
from serving.server.shadow import Shadow
from serving.server.telemetry import ServerMetrics

if TYPE_CHECKING:
    from serving.server.server_settings import ServerSettings

log = logging.getLogger("mastery.serving")

LINGER_SECONDS = 5.0  # in which a client can read its refusal and close its connection
# By default, a computing thread keeps the interpreter for 5 ms after each of the event loop's
# system calls. Beside a thread that writes a large answer, a small one would take 20 times as long.
SWITCH_SECONDS = 0.0005
KEEPALIVE = {"TCP_KEEPIDLE": PING_SECONDS, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class ServerError(MasteryError):
    """The server cannot start."""


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: ours stop gRPC, too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until_stopped(settings: ServerSettings) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        ServerError: the server cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sys.setswitchinterval(SWITCH_SECONDS)
    raise_descriptor_limit()

    server = EmbeddedServer(settings)
    starting = asyncio.create_task(server.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # stopped while loading
        starting.cancel()
        return
    await starting

    scheme = "https" if settings.tls_cert else "http"
    log.info(
        "Serving %s: REST %s://%s:%d/v1/models/%s, gRPC %s:%d.",
        settings.name, scheme, settings.host, server.rest_port, settings.name,
        settings.host, server.grpc_port,
    )  # fmt: skip
    await stopping
    log.info("Stopping: answering the requests in progress.")
    await server.stop()


class EmbeddedServer:
    """REST and gRPC for one model, in one event loop.

    Attributes:
        rest_port: port of REST, after the start.
        grpc_port: port of gRPC, after the start.
        versions: the versions that are served.
        recorder: of the prediction log; None without one.
        shadow: what asks another version the same; None without one.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(settings.threads, "tensorflow")
        self._metrics = ServerMetrics(settings.name)
        asked_for = settings.prediction_log
        self.recorder = None if asked_for is None else Recorder(asked_for, settings.name)
        self._metrics.recorder = self.recorder
        self.versions = ServedVersions(settings, self._executor, self._metrics, self.recorder)
        self.shadow = Shadow(settings, settings.shadow) if settings.shadow else None
        self._metrics.shadow = self.shadow
        self._predictor = Predictor(settings, self.versions, self._metrics, self.shadow)
        self._connections = _connections(settings)
        self._health = Health(settings.name, self.versions)
        self.rest_port = self.grpc_port = 0

    @property
    def requests_in_progress(self) -> int:
        """Number of unanswered requests to predict."""
        return self._metrics.requests_in_progress

    @property
    def open_connections(self) -> int:
        """Number of connections to both ports."""
        return len(self._connections)

    async def start(self) -> None:
        """Takes the ports, loads the versions, and begins to answer.

        Raises:
            ServerError: a port is in use, or the certificate cannot be used.
            MasteryError: the prediction log cannot be written.
        """
        asyncio.get_running_loop().set_exception_handler(Quiet().loop_error)
        for_rest, for_grpc, tls = self._prepare()
        if self.recorder is not None:
            try:
                await asyncio.to_thread(self.recorder.start)
            except MasteryError:
                await self._release()
                raise

        await self.versions.poll()
        if not self.versions.status:
            log.warning("%s: no version yet; waiting for one.", self._settings.models)
        gc.collect()
        gc.freeze()  # TensorFlow's modules are never garbage; collecting is 10x faster without them

        await self._health.add_to(self._grpc)
        self.versions.on_change = self._health.refresh
        try:
            await self._listen(for_rest, for_grpc, tls)
        except ServerError:
            await self._release()
            raise
        self._watching = asyncio.create_task(self.versions.watch())
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Accepts nothing new, answers the requests in progress, and frees everything."""
        self._watching.cancel()
        await self._health.stop()
        self._rest.should_exit = True
        self._accepting.close()

        grace = self._settings.limits.drain_timeout
        await asyncio.gather(self._serving, self._grpc.stop(grace))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.versions.close(), grace)

        self._sweeping.cancel()
        await self._release()

    def _prepare(self) -> tuple[socket.socket, socket.socket, ssl.SSLContext | None]:
        """Binds both ports and builds both servers; frees everything if that fails.

        Returns:
            The sockets of REST and gRPC, and the certificate for gRPC.
        """
        settings = self._settings
        with contextlib.ExitStack() as undo:
            host = settings.host
            for_rest = undo.enter_context(_bind(host, settings.rest_port, "REST", "--rest-port"))
            for_grpc = undo.enter_context(_bind(host, settings.grpc_port, "gRPC", "--grpc-port"))
            self.rest_port = for_rest.getsockname()[1]
            self.grpc_port = for_grpc.getsockname()[1]

            self._grpc = GrpcServer(settings, self._predictor.budget)
            GrpcApi(self._predictor).add_to(self._grpc)
            add_reflection(self._grpc)
            self._api = RestApi(self._predictor)
            self._rest = _Uvicorn(self._rest_config(_tls(settings)))
            tls = _tls(settings, "h2")
            self._held = undo.pop_all()
        return for_rest, for_grpc, tls

    async def _listen(
        self, for_rest: socket.socket, for_grpc: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        """Begins to accept connections.

        Raises:
            ServerError: another process has taken a port since it was bound here.
        """
        host = self._settings.host
        protocol = functools.partial(self._grpc.accept, self._connections, tls)
        loop = asyncio.get_running_loop()
        try:
            self._accepting = await loop.create_server(protocol, sock=for_grpc, backlog=BACKLOG)
        except OSError as error:
            raise _port_error(host, self.grpc_port, "gRPC", "--grpc-port", error) from error

        self._serving = asyncio.create_task(self._rest.serve([for_rest]))
        while not self._rest.started and not self._serving.done():
            await asyncio.sleep(0.01)
        failure = self._serving.exception() if self._serving.done() else None
        if isinstance(failure, OSError):
            self._accepting.close()
            raise _port_error(host, self.rest_port, "REST", "--rest-port", failure) from failure

    async def _release(self) -> None:
        self._connections.end_all()
        self._api.close()
        await asyncio.to_thread(self._predictor.tracing.close)
        if self.shadow is not None:
            await asyncio.to_thread(self.shadow.close)
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.stop)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._held.close()

    async def _sweep(self) -> None:
        """Keeps ending the connections whose phase has lasted too long."""
        while True:
            await asyncio.sleep(min(1.0, self._settings.limits.header_timeout / 2))
            self._connections.end_late()

    def _rest_config(self, tls: ssl.SSLContext | None) -> uvicorn.Config:
        limits = self._settings.limits
        protocol: Any = functools.partial(
            BoundedHttp,
            connections=self._connections,
            budget=self._predictor.budget,
            limits=limits,
            tls=tls,
        )
        config = uvicorn.Config(
            self._api.app,
            http=protocol,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=max(1, round(limits.drain_timeout)),
        )
        config.load()
        return config


def _connections(settings: ServerSettings) -> Connections:
    """Returns an empty table for the connections to both ports."""
    limits = settings.limits
    seconds = {
        Phase.CLOSING: LINGER_SECONDS,
        Phase.HEAD: limits.header_timeout,
        Phase.BODY: limits.request_timeout + LINGER_SECONDS,  # after the refusal of the request
        Phase.IDLE: limits.idle_timeout,
        Phase.QUIET: PING_SECONDS,
        Phase.ANSWER: limits.request_timeout,
    }
    return Connections(
        possible_connections(limits.max_connections),
        limits.max_connections_per_address,
        seconds,
    )


def _tls(settings: ServerSettings, protocol: str = "http/1.1") -> ssl.SSLContext | None:
    """Returns the server's certificate and key, for one protocol; None without TLS.

    Raises:
        ServerError: they cannot be used.
    """
    if settings.tls_cert is None:
        return None

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols([protocol])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise ServerError(
            f"{settings.tls_cert}, {settings.tls_key}: expected a certificate and its private key, "
            f"both PEM; found: {error}."
        ) from error
    return context


def _bind(host: str, port: int, api: str, option: str) -> socket.socket:
    """Returns a socket bound to a port.

    Raises:
        ServerError: the port cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends without delay (TCP_NODELAY).
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    # Ends connections whose client has vanished.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":  # other systems keep their default of two hours
        for option_name, value in KEEPALIVE.items():
            bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, option_name), value)

    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _port_error(host, port, api, option, error) from error
    bound.setblocking(False)
    return bound


def _port_error(host: str, port: int, api: str, option: str, error: OSError) -> ServerError:
    # asyncio's own text repeats the address, and a look-up's error number is not the system's.
    is_lookup = isinstance(error, socket.gaierror)
    reason = error.strerror if is_lookup else os.strerror(error.errno or 0)
    return ServerError(
        f"{host}:{port} cannot be used for {api}: {reason}; choose another address with --host "
        f"and {option}."
    )
