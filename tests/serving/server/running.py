"""A server in a thread of its own, and clients of it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from serving.server.embedded_server import EmbeddedServer
from serving.server.server_settings import Limits, ServerSettings


@dataclass
class Running:
    """A running server and its clients."""

    server: EmbeddedServer
    loop: asyncio.AbstractEventLoop
    rest: httpx.Client
    channel: grpc.Channel

    @property
    def prediction(self) -> PredictionServiceStub:
        return PredictionServiceStub(self.channel)

    @property
    def models(self) -> ModelServiceStub:
        return ModelServiceStub(self.channel)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def poll(self) -> None:
        """Makes the server read its folder now."""
        self.run(self.server.versions.poll())

    def predict(self, body: object, where: str = "", **options: Any) -> httpx.Response:
        return self.rest.post(f"/v1/models/tiny{where}:predict", json=body, **options)


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Running]:
    """Serves `folder` as "tiny" on free ports; options of Limits and ServerSettings by name."""
    limits = {
        name: options.pop(name) for name in list(options) if name in Limits.__dataclass_fields__
    }
    given = {"poll_seconds": 3600.0, "threads": 1, **options}  # tests say themselves when to look
    settings = ServerSettings(
        models=folder, name="tiny", rest_port=0, grpc_port=0, limits=Limits(**limits), **given
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def make() -> EmbeddedServer:
        server = EmbeddedServer(settings)
        await server.start()
        return server

    try:
        server = run(make())
        try:
            tls_cert = settings.tls_cert
            scheme = "https" if tls_cert else "http"
            verify = ssl.create_default_context(cafile=tls_cert) if tls_cert else False
            options = [("grpc.use_local_subchannel_pool", 1)]
            address = f"127.0.0.1:{server.grpc_port}"
            with (
                httpx.Client(
                    base_url=f"{scheme}://127.0.0.1:{server.rest_port}",
                    timeout=60,
                    trust_env=False,
                    verify=verify,
                ) as rest,
                _channel(address, tls_cert, options) as channel,
            ):
                yield Running(server, loop, rest, channel)
        finally:
            run(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _channel(address: str, tls_cert: Path | None, options: list[tuple[str, Any]]) -> grpc.Channel:
    if tls_cert is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(
        address, grpc.ssl_channel_credentials(tls_cert.read_bytes()), options
    )
