"""`mastery serve` and `mastery predict`: their options reach the server and the client."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.server import serve as serving
from serving.server.server_settings import Limits, ServerSettings
from tests.pipeline.cli.typed import mastery
from tests.serving.models.folders import write_version

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"
Served = tuple[ServerSettings, str]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """What was to be served, and by which engine; nothing is started."""
    found: list[Served] = []
    monkeypatch.setattr(
        serving, "serve_model", lambda settings, engine: found.append((settings, engine))
    )
    return found


def test_without_options_the_server_s_own_limits_hold(
    monkeypatch: pytest.MonkeyPatch, served: list[Served], tmp_path: Path
) -> None:
    assert mastery(monkeypatch, "serve", "--models", str(tmp_path), "--name", "algebra") == 0
    [(settings, engine)] = served
    expected = ServerSettings(models=tmp_path, name="algebra")
    assert settings == replace(expected, threads=settings.threads)
    assert settings.limits == Limits()
    assert engine == "auto"


def test_every_option_reaches_the_server(
    monkeypatch: pytest.MonkeyPatch, served: list[Served], tmp_path: Path
) -> None:
    limits: dict[str, Any] = {
        "max_request_bytes": 1, "max_rows": 2, "max_requests": 3, "max_queue_rows": 4,
        "max_batch_rows": 5, "request_timeout": 6.5, "drain_timeout": 7.5, "max_inflight_bytes": 8,
        "max_header_bytes": 2048, "max_connections": 9, "max_connections_per_address": 10,
        "max_streams": 11, "header_timeout": 12.5, "idle_timeout": 13.5, "max_connection_age": 14.5,
    }  # fmt: skip
    options = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in {**limits, "batch_timeout_micros": 500}.items()
    ]
    options += ["--host", "::1", "--rest-port", "0", "--grpc-port", "1", "--poll-seconds", "2"]
    options += ["--allow-anonymous", "--require-manifest", "--allow-operation", "A"]
    options += ["--allow-operation", "B", "--cors-origin", "https://a.example"]
    options += ["--otlp-endpoint", "http://b.example", "--tls-cert", "c", "--tls-key", "k"]
    monkeypatch.setenv("MASTERY_SERVE_TOKEN", "a-long-enough-token")
    monkeypatch.setenv("MASTERY_SERVE_RELOAD_TOKEN", "another-long-enough-token")

    models = ["--models", str(tmp_path), "--name", "algebra", "--engine", "embedded"]
    assert mastery(monkeypatch, "serve", *models, *options) == 0
    [(settings, engine)] = served
    assert engine == "embedded"
    assert settings == ServerSettings(
        models=tmp_path,
        name="algebra",
        host="::1",
        rest_port=0,
        grpc_port=1,
        poll_seconds=2.0,
        limits=Limits(**limits, batch_timeout=0.0005),
        token="a-long-enough-token",
        reload_token="another-long-enough-token",
        tls_cert=Path("c"),
        tls_key=Path("k"),
        require_manifest=True,
        allowed_operations=frozenset({"A", "B"}),
        allow_anonymous=True,
        cors_origins=("https://a.example",),
        otlp_endpoint="http://b.example",
    )


def test_a_configuration_names_the_folder_that_its_runs_push_to(
    monkeypatch: pytest.MonkeyPatch, served: list[Served], tmp_path: Path
) -> None:
    folder = tmp_path / "sample" / "serving"
    write_version(folder, 7)
    options = ["--config", str(CONFIG), "--root", str(tmp_path)]
    assert mastery(monkeypatch, "serve", *options) == 0
    [(settings, _)] = served
    assert (settings.models, settings.name) == (folder, "sample")


@pytest.mark.parametrize("options", [[], ["--models", "a", "--config", "b.yaml"]])
def test_serve_takes_either_a_folder_or_a_configuration(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    served: list[Served],
    options: list[str],
) -> None:
    assert mastery(monkeypatch, "serve", *options) == 2
    assert "expected either --models or --config" in capsys.readouterr().err
    assert served == []


@pytest.mark.parametrize("options", [[], ["--config", str(CONFIG), "--model", "a"]])
def test_predict_takes_either_a_configuration_or_a_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    questions = ["--events", "e.csv", "--server", "http://localhost:1"]
    assert mastery(monkeypatch, "predict", *questions, *options) == 2
    assert "expected either --config or --model, which say how" in capsys.readouterr().err
