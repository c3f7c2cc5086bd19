"""The embedded server's life: ports, versions, requests, and an end that loses none."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import uvicorn

from components.errors import MasteryError
from serving.server.grpc_service import GrpcApi
from serving.server.metrics import Metrics
from serving.server.predictor import Predictor
from serving.server.rest import RestApi
from serving.server.settings import Settings
from serving.server.versions import Versions

log = logging.getLogger("mastery.serving")


class ServerError(MasteryError):
    """The server cannot start."""


class _Uvicorn(uvicorn.Server):
    """uvicorn, with the signals left to us: they stop gRPC, too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """REST and gRPC for one model, in one event loop.

    Attributes:
        rest_port: the port that REST listens on, once started.
        grpc_port: the one of gRPC.
        versions: what is served.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(settings.threads, "tensorflow")
        self._metrics = Metrics(settings.name)
        self.versions = Versions(settings, self._executor, self._metrics)
        self._predictor = Predictor(settings, self.versions, self._metrics)
        self.rest_port = self.grpc_port = 0

    @property
    def requests_under_way(self) -> int:
        """Requests to predict that are not answered yet."""
        return self._metrics.requests_under_way

    async def start(self) -> None:
        """Takes the ports, loads what is there, and begins to answer.

        Raises:
            ServerError: a port is taken, or the certificate cannot be used.
        """
        settings = self._settings
        listening = _bind(settings.host, settings.rest_port)
        self.rest_port = listening.getsockname()[1]
        try:
            self._grpc = self._make_grpc()
            self._rest = _Uvicorn(self._rest_config())
        except ServerError:
            listening.close()
            raise
        await self.versions.poll()
        if not self.versions.status:
            log.warning("%s: no version yet; waiting for one.", settings.models)
        gc.collect()
        gc.freeze()  # TensorFlow's modules are never garbage; without them, a collection takes a tenth of the time
        await self._grpc.start()
        self._serving = asyncio.create_task(self._rest.serve([listening]))
        while not self._rest.started and not self._serving.done():
            await asyncio.sleep(0.01)
        self._watching = asyncio.create_task(self.versions.watch())

    async def stop(self) -> None:
        """Accepts nothing new, answers what is under way, and frees everything."""
        self._watching.cancel()
        self._rest.should_exit = True
        grace = self._settings.limits.drain_timeout
        await asyncio.gather(self._serving, self._grpc.stop(grace))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.versions.close(), grace)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _make_grpc(self) -> grpc.aio.Server:
        settings = self._settings
        most = settings.limits.max_request_bytes
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", most),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # or a second server would take half of the requests
                ("grpc.max_metadata_size", 16 * 2**10),
            ]
        )
        GrpcApi(self._predictor).add_to(server)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.grpc_port}"
        try:
            if settings.tls_cert and settings.tls_key:
                pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
                self.grpc_port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                self.grpc_port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise ServerError(
                f"expected to listen on {address} for gRPC, found it taken or not of this machine; choose another "
                f"with --host and --grpc-port ({str(error)[:200]})."
            ) from error
        return server

    def _rest_config(self) -> uvicorn.Config:
        settings = self._settings
        config = uvicorn.Config(
            RestApi(self._predictor).app,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(settings.limits.drain_timeout)),
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        try:
            config.load()
        except OSError as error:
            raise ServerError(
                f"{settings.tls_cert}, {settings.tls_key}: expected a certificate and its private key, both PEM; "
                f"found: {error}."
            ) from error
        return config


async def serve_until_stopped(settings: Settings) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        ServerError: the server cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = Server(settings)
    starting, stopping = asyncio.create_task(server.start()), asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # stopped while loading
        starting.cancel()
        return
    await starting
    scheme = "https" if settings.tls_cert else "http"
    log.info(
        "Serving %s: REST %s://%s:%d/v1/models/%s, gRPC %s:%d.",
        settings.name, scheme, settings.host, server.rest_port, settings.name, settings.host, server.grpc_port,
    )  # fmt: skip
    await stopping
    log.info("Stopping: answering what is under way.")
    await server.stop()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio then sends at once
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise ServerError(
            f"expected to listen on {host}:{port} for REST, found: {error.strerror}; choose another with --host and "
            "--rest-port."
        ) from error
    found.setblocking(False)
    return found
