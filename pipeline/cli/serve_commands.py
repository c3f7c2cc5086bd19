"""Commands after the push: `serve` the versions on this machine, and ask them with `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    EventsOption,
    RootOption,
    SetOption,
    finite,
    parse_version_number,
    pushed_to,
)
from pipeline.cli.signing_commands import CertificateOption, PublicKeyOption, find_trust

if TYPE_CHECKING:
    from components.config import Config


MAX_REQUEST_BYTES = 16 * 2**20
MAX_INFLIGHT_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 16 * 2**10


def _limit(name: str, meaning: str, least: float = 1) -> Any:
    """Returns an option of `serve` that limits what callers may use."""
    return typer.Option(
        name,
        metavar="SECONDS" if meaning.startswith("Seconds") else "N",
        min=least,
        callback=finite,
        help=meaning,
        rich_help_panel="Limits",
    )


def _security(name: str, meaning: str, metavar: str | None = None) -> Any:
    """Returns an option of `serve` about who may call it and what it loads."""
    return typer.Option(name, metavar=metavar, help=meaning, rich_help_panel="Security")


def _log(name: str, meaning: str, metavar: str, **more: Any) -> Any:
    """Returns an option of `serve` about the prediction log."""
    panel = "Prediction log"
    return typer.Option(name, metavar=metavar, help=meaning, rich_help_panel=panel, **more)


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
            "--config", metavar="FILE", help="Instead: the configuration of the run that pushed."
        ),
    ] = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    name: Annotated[
        str | None,
        typer.Option("--name", help="The model's name in requests; default: its manifest's."),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="ENGINE", help="auto, binary, container or embedded.")
    ] = "auto",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    rest_port: Annotated[
        int,
        typer.Option(
            "--rest-port", metavar="PORT", min=0, max=65535, help="Port for REST; 0: any free one."
        ),
    ] = 8501,
    grpc_port: Annotated[
        int,
        typer.Option(
            "--grpc-port", metavar="PORT", min=0, max=65535, help="Port for gRPC; 0: any free one."
        ),
    ] = 8500,
    poll_seconds: Annotated[
        float,
        typer.Option(
            "--poll-seconds",
            metavar="SECONDS",
            callback=finite,
            min=0.05,
            help="How often to look for new versions.",
        ),
    ] = 1.0,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            "--otlp-endpoint", metavar="URL", help="Send traces there, by OTLP over HTTP."
        ),
    ] = None,
    allow_anonymous: Annotated[
        bool,
        _security("--allow-anonymous", "Serve other machines without a token, or without TLS."),
    ] = False,
    tls_cert: Annotated[
        Path | None, _security("--tls-cert", "Certificate chain, PEM.", "FILE")
    ] = None,
    tls_key: Annotated[Path | None, _security("--tls-key", "Its private key, PEM.", "FILE")] = None,
    cors_origin: Annotated[
        list[str] | None,
        _security("--cors-origin", "Let pages of this origin call; repeatable.", "ORIGIN"),
    ] = None,
    require_manifest: Annotated[
        bool,
        _security("--require-manifest", "Refuse versions without a manifest's digests."),
    ] = False,
    require_signature: Annotated[
        bool,
        _security("--require-signature", "Refuse versions that the owner of a key did not sign."),
    ] = False,
    public_key: PublicKeyOption = None,
    certificate: CertificateOption = None,
    allow_operation: Annotated[
        list[str] | None,
        _security("--allow-operation", "Let a model hold this operation; repeatable.", "NAME"),
    ] = None,
    prediction_log: Annotated[
        str | None,
        _log(
            "--prediction-log", "Log answers to Parquet files or the answers' database.", "DIR|URL"
        ),
    ] = None,
    prediction_log_sample: Annotated[
        float,
        _log(
            "--prediction-log-sample",
            "Share of the rows, by the input's hash.",
            "SHARE",
            callback=finite,
        ),
    ] = 1.0,
    prediction_log_days: Annotated[
        int, _log("--prediction-log-days", "Remove rows after so many days.", "N", min=1)
    ] = 365,
    prediction_log_spool: Annotated[
        Path | None,
        _log("--prediction-log-spool", "Where rows wait for a database.", "DIR"),
    ] = None,
    shadow: Annotated[
        float | None,
        _log(
            "--shadow",
            "Share of the learners that the newest version or canary is asked about, too, with "
            "answers logged and not returned; default: rollout.shadow.",
            "SHARE",
            callback=finite,
        ),
    ] = None,
    max_request_bytes: Annotated[
        int, _limit("--max-request-bytes", "Bytes of one request.")
    ] = MAX_REQUEST_BYTES,
    max_rows: Annotated[int, _limit("--max-rows", "Rows of one request.")] = 4096,
    max_requests: Annotated[
        int, _limit("--max-requests", "Requests handled at once; more are refused.")
    ] = 512,
    max_queue_rows: Annotated[
        int, _limit("--max-queue-rows", "Rows that wait; more are refused.")
    ] = 16_384,
    max_batch_rows: Annotated[
        int, _limit("--max-batch-rows", "Rows that share a call of the graph.")
    ] = 128,
    batch_timeout_micros: Annotated[
        int,
        _limit("--batch-timeout-micros", "Microseconds to wait for other rows, at most.", 0),
    ] = 2000,
    request_timeout: Annotated[
        float, _limit("--request-timeout", "Seconds until a request is given up.", 0.001)
    ] = 30.0,
    drain_timeout: Annotated[
        float, _limit("--drain-timeout", "Seconds to finish requests before the end.", 0.0)
    ] = 5.0,
    max_inflight_bytes: Annotated[
        int, _limit("--max-inflight-bytes", "Bytes of all large requests handled at once.")
    ] = MAX_INFLIGHT_BYTES,
    max_header_bytes: Annotated[
        int, _limit("--max-header-bytes", "Bytes of one request's headers.", 1024)
    ] = MAX_HEADER_BYTES,
    max_connections: Annotated[
        int, _limit("--max-connections", "Connections; beyond it, idle ones are closed.")
    ] = 1024,
    max_connections_per_address: Annotated[
        int, _limit("--max-connections-per-address", "Connections of one address, e.g. a proxy's.")
    ] = 512,
    max_streams: Annotated[
        int, _limit("--max-streams", "Calls at once on one connection of gRPC.")
    ] = 100,
    header_timeout: Annotated[
        float, _limit("--header-timeout", "Seconds for a request's head or a handshake.", 0.1)
    ] = 10.0,
    idle_timeout: Annotated[
        float, _limit("--idle-timeout", "Seconds until an idle connection is closed.", 0.1)
    ] = 75.0,
    max_connection_age: Annotated[
        float, _limit("--max-connection-age", "Seconds that a connection of gRPC lasts.", 1.0)
    ] = 3600.0,
) -> None:
    """Serve the pushed versions on this machine, by REST and gRPC.

    The API is TensorFlow Serving's. The engine is the image tensorflow/serving if a container
    engine has it, otherwise a server of our own; with --host 0.0.0.0 also tensorflow_model_server
    if it is installed. Our own server also answers the Open Inference Protocol (/v2).

    Callers need the token in $MASTERY_SERVE_TOKEN, if that is set; reloading by gRPC needs the one
    in $MASTERY_SERVE_RELOAD_TOKEN.

    Example:
        mastery serve --config configs/sample.yaml
    """
    import os

    from components.model_version.pushed_version import model_name
    from serving.prediction_log.settings import PredictionLogSettings
    from serving.server.serve import serve_model
    from serving.server.server_settings import (
        RELOAD_TOKEN,
        TOKEN,
        Limits,
        ServerSettings,
        read_token,
    )

    folder = _folder(models, config, set_, root)
    trust = None
    if require_signature:
        trust = find_trust(public_key, certificate, config, set_, required=True)
    logged = None
    if prediction_log is not None:
        logged = PredictionLogSettings(
            target=prediction_log,
            sample=prediction_log_sample,
            days=prediction_log_days,
            spool=prediction_log_spool,
        )
    serve_model(
        ServerSettings(
            models=folder,
            name=name or model_name(folder, trust),
            host=host,
            rest_port=rest_port,
            grpc_port=grpc_port,
            poll_seconds=poll_seconds,
            token=read_token(os.environ, TOKEN),
            reload_token=read_token(os.environ, RELOAD_TOKEN),
            allow_anonymous=allow_anonymous,
            require_manifest=require_manifest,
            trust=trust,
            allowed_operations=frozenset(allow_operation or []),
            cors_origins=tuple(cors_origin or []),
            otlp_endpoint=otlp_endpoint,
            prediction_log=logged,
            shadow=_shadow(shadow, config, set_),
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
    raise MasteryError("expected either --models or --config, which say what to serve.")


def _shadow(given: float | None, config: Path | None, set_: list[str]) -> float:
    """Returns the share that is copied: the option's, or the configuration's."""
    if given is not None or config is None:
        return given or 0.0
    from components.config import load_config

    return load_config(config, set_).rollout.shadow


def predict(
    events: EventsOption,
    server: Annotated[
        str,
        typer.Option(
            "--server",
            metavar="URL",
            help="http://host:8501 (REST) or grpc://host:8500; s for TLS.",
        ),
    ],
    outcomes: Annotated[
        list[str] | None,
        typer.Option(
            "--outcomes",
            help="The learners, units and moments (as_of) to ask about, with context.",
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="TIME", help="Instead: all learners in the events, at this moment."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The configuration the model was made with."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="DIR", help="Instead: a pushed version, which contains it."
        ),
    ] = None,
    set_: SetOption = NO_SETTINGS,
    version: Annotated[
        int | None, typer.Option("--version", parser=parse_version_number, help="Ask this version.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Ask the version of this label: stable, canary.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write to a .csv, .jsonl or .txt file."),
    ] = None,
    format_: Annotated[
        Literal["table", "csv", "jsonl"] | None,
        typer.Option("--format", help="Default: by the name of --out, else table."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: the top reasons of each answer.")
    ] = False,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Of the reasons; default: the configuration's first."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Examples in a request.")
    ] = 64,
    deadline: Annotated[
        float,
        typer.Option(
            "--deadline", metavar="SECONDS", min=0.001, callback=finite, help="For each request."
        ),
    ] = 10.0,
    attempts: Annotated[
        int,
        typer.Option("--attempts", min=1, help="Tries while the server is busy or not reachable."),
    ] = 5,
) -> None:
    """Ask a served model about the learners in a log.

    Prints who has mastered what, as of when. If the server needs a token, set it in
    $MASTERY_SERVE_TOKEN.

    Example:
        mastery predict --server grpc://localhost:8500 --config configs/sample.yaml
            --events e.csv --as-of 2026-11-20
    """
    import os

    from components.command.program import write_data
    from components.files.atomic import write_text
    from serving.client import Retry, connect
    from serving.predict import (
        explain_questions,
        format_answers,
        output_format,
        predict_questions,
        questions_from_log,
    )
    from serving.server.server_settings import TOKEN, read_token

    made_with = _config_made_with(config, model, set_)
    form = output_format(out, format_)
    retry = Retry(attempts=attempts, deadline=deadline)
    token = read_token(os.environ, TOKEN)
    with connect(
        server,
        made_with.name,
        version=version,
        label=label,
        retry=retry,
        batch=batch_size,
        token=token,
    ) as client:
        questions = questions_from_log(
            made_with, events, outcomes or [], as_of=as_of, for_reasons=explain
        )
        if explain:
            answers = explain_questions(client, questions, made_with, language)
        else:
            answers = predict_questions(client, questions)
        text = format_answers(answers, form)

    if out:
        write_text(out, text)
        print(f"{len(questions.examples)} answers in {out}")
    elif form == "table":
        print(text, end="")
    else:
        write_data(text)


def _config_made_with(config: Path | None, model: Path | None, set_: list[str]) -> Config:
    """Returns the configuration that says how the events are read."""
    from components.config import load_config
    from components.errors import MasteryError
    from components.model_version.pushed_version import config_of

    if config is not None and model is None:
        return load_config(config, set_)
    if model is not None and config is None:
        return config_of(model, name=str(model))
    raise MasteryError("expected either --config or --model, which say how the model reads events.")
