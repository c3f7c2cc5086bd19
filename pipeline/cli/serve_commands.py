"""`mastery serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import RootOption, SetOption, finite
from pipeline.cli.serving_folder import pushed_to


def serve(
    models: Annotated[
        Path | None,
        typer.Option(
            "--models", metavar="DIR", help="The folder with a subfolder for each version."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Or the configuration of the run that pushed."
        ),
    ] = None,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    root: RootOption = Path("runs"),
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="The model's name in requests; default: what its manifest says."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="ENGINE", help="auto, binary, container or embedded.")
    ] = "auto",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    allow_anonymous: Annotated[
        bool,
        typer.Option(
            "--allow-anonymous", help="Beyond this machine, without a token, or without TLS."
        ),
    ] = False,
    require_manifest: Annotated[
        bool,
        typer.Option(
            "--require-manifest", help="Refuse versions without the digests of what was pushed."
        ),
    ] = False,
    allow_operation: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-operation", metavar="NAME", help="Let a model hold this operation; repeatable."
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin", metavar="ORIGIN", help="Let pages of this origin call; repeatable."
        ),
    ] = None,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            "--otlp-endpoint", metavar="URL", help="Send traces there, by OTLP over HTTP."
        ),
    ] = None,
    rest_port: Annotated[int, typer.Option("--rest-port", min=0, max=65535)] = 8501,
    grpc_port: Annotated[int, typer.Option("--grpc-port", min=0, max=65535)] = 8500,
    poll_seconds: Annotated[
        float,
        typer.Option(
            "--poll-seconds",
            callback=finite,
            min=0.05,
            help="Seconds between two looks for new versions.",
        ),
    ] = 1.0,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")
    ] = None,
    max_request_bytes: Annotated[int, typer.Option("--max-request-bytes", min=1)] = 16 * 2**20,
    max_rows: Annotated[int, typer.Option("--max-rows", min=1, help="Rows of one request.")] = 4096,
    max_requests: Annotated[
        int,
        typer.Option("--max-requests", min=1, help="Requests under way at once; more are refused."),
    ] = 512,
    max_queue_rows: Annotated[
        int, typer.Option("--max-queue-rows", min=1, help="Rows that wait; more are refused.")
    ] = 16_384,
    max_batch_rows: Annotated[
        int, typer.Option("--max-batch-rows", min=1, help="Rows that share a call of the graph.")
    ] = 128,
    batch_timeout_micros: Annotated[
        int,
        typer.Option(
            "--batch-timeout-micros", min=0, help="Microseconds to wait for others, at most."
        ),
    ] = 2000,
    request_timeout: Annotated[
        float,
        typer.Option(
            "--request-timeout",
            callback=finite,
            min=0.001,
            help="Seconds until a request is given up.",
        ),
    ] = 30.0,
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout",
            callback=finite,
            min=0.0,
            help="Seconds to answer what is under way at the end.",
        ),
    ] = 5.0,
    max_inflight_bytes: Annotated[
        int,
        typer.Option(
            "--max-inflight-bytes", min=1, help="Bytes of all large requests under way together."
        ),
    ] = 64 * 2**20,
    max_header_bytes: Annotated[
        int, typer.Option("--max-header-bytes", min=1024, help="Bytes of one request's headers.")
    ] = 16 * 2**10,
    max_connections: Annotated[
        int,
        typer.Option(
            "--max-connections", min=1, help="Connections; beyond it, idle ones give way."
        ),
    ] = 1024,
    max_connections_per_address: Annotated[
        int,
        typer.Option(
            "--max-connections-per-address", min=1, help="Of one address, such as a proxy's."
        ),
    ] = 512,
    max_streams: Annotated[
        int, typer.Option("--max-streams", min=1, help="Calls at once on one connection of gRPC.")
    ] = 100,
    header_timeout: Annotated[
        float,
        typer.Option(
            "--header-timeout",
            callback=finite,
            min=0.1,
            help="Seconds for a request's head or a handshake.",
        ),
    ] = 10.0,
    idle_timeout: Annotated[
        float,
        typer.Option(
            "--idle-timeout",
            callback=finite,
            min=0.1,
            help="Seconds until an idle connection is closed.",
        ),
    ] = 75.0,
    max_connection_age: Annotated[
        float,
        typer.Option(
            "--max-connection-age",
            callback=finite,
            min=1.0,
            help="Seconds that a connection of gRPC lasts.",
        ),
    ] = 3600.0,
) -> None:
    """Serve the pushed versions on this machine, by TensorFlow Serving's REST and gRPC API.

    Runs the image tensorflow/serving where a container engine has it, else a server of our own; with --host 0.0.0.0
    also tensorflow_model_server where it is installed. Answers the Open Inference Protocol (/v2), too, unless it is
    TensorFlow Serving. The token that callers need, if any, is in $MASTERY_SERVE_TOKEN; that for reloading by gRPC in
    $MASTERY_SERVE_RELOAD_TOKEN.
    """
    import os

    from serving.server.serve import serve_model
    from serving.server.server_settings import (
        RELOAD_TOKEN,
        TOKEN,
        Limits,
        ServerSettings,
        read_token,
    )
    from serving.server.source import model_name

    folder = _folder(models, config, set_, root)
    serve_model(
        ServerSettings(
            models=folder,
            name=name or model_name(folder),
            host=host,
            rest_port=rest_port,
            grpc_port=grpc_port,
            poll_seconds=poll_seconds,
            token=read_token(os.environ, TOKEN),
            reload_token=read_token(os.environ, RELOAD_TOKEN),
            allow_anonymous=allow_anonymous,
            require_manifest=require_manifest,
            allowed_operations=frozenset(allow_operation or []),
            cors_origins=tuple(cors_origin or []),
            otlp_endpoint=otlp_endpoint,
            tls_cert=tls_cert,
            tls_key=tls_key,
            limits=Limits(
                max_request_bytes=max_request_bytes,
                max_rows=max_rows,
                max_requests=max_requests,
                max_queue_rows=max_queue_rows,
                max_batch_rows=max_batch_rows,
                batch_timeout=batch_timeout_micros / 1e6,
                request_timeout=request_timeout,
                drain_timeout=drain_timeout,
                max_inflight_bytes=max_inflight_bytes,
                max_header_bytes=max_header_bytes,
                max_connections=max_connections,
                max_connections_per_address=max_connections_per_address,
                max_streams=max_streams,
                header_timeout=header_timeout,
                idle_timeout=idle_timeout,
                max_connection_age=max_connection_age,
            ),
        ),
        engine,
    )


def _folder(models: Path | None, config: Path | None, set_: list[str], root: Path) -> Path:
    from components.errors import MasteryError

    if models is not None and config is None:
        return models
    if config is not None and models is None:
        return Path(pushed_to(config, set_, root))
    raise MasteryError("expected either --models or --config, to know what to serve.")
