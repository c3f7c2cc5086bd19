"""The choice of engine and the call of TensorFlow Serving, with scripts in its place."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.errors import MasteryError
from components.model_version.pushed_version import model_name
from serving.server.serve import (
    EngineError,
    choose_engine,
    container_command,
    run_engine,
    serve_model,
)
from serving.server.server_settings import RELOAD_TOKEN, TOKEN, ServerSettings, read_token


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH and only has programs that the test writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{body}\n")
    path.chmod(0o755)


def settings(folder: Path, **options: object) -> ServerSettings:
    return ServerSettings(models=folder, name="tiny", **options)


def test_no_binary_and_no_container_engine_is_an_error(tmp_path: Path) -> None:
    assert choose_engine("auto", settings(tmp_path)).kind == "embedded"
    with pytest.raises(EngineError, match="tensorflow_model_server is not on the PATH"):
        choose_engine("binary", settings(tmp_path))
    with pytest.raises(EngineError, match="docker pull tensorflow/serving"):
        choose_engine("container", settings(tmp_path))
    with pytest.raises(EngineError, match="expected one of auto, binary"):
        choose_engine("best", settings(tmp_path))


def test_a_container_engine_has_to_have_the_image(programs: Path, tmp_path: Path) -> None:
    program(programs, "docker", "sys.exit(1)")
    assert choose_engine("auto", settings(tmp_path)).kind == "embedded"
    program(
        programs, "podman", 'sys.exit(sys.argv[1:] != ["image", "inspect", "tensorflow/serving"])'
    )
    found = choose_engine("auto", settings(tmp_path))
    assert (found.kind, found.program) == ("container", "podman")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"token": "a"}, "tokens"),
        ({"reload_token": "a"}, "tokens"),
        ({"tls_cert": Path("a")}, "TLS for REST"),
        ({"rest_port": 0}, "choice of free ports"),
        ({"require_manifest": True}, "--require-manifest"),
        ({"cors_origins": ("*",)}, "--cors-origin"),
        ({"otlp_endpoint": "http://localhost:4318"}, "traces by OTLP"),
    ],
)
def test_what_tensorflow_serving_lacks(
    programs: Path, tmp_path: Path, options: dict, reason: str
) -> None:
    program(programs, "tensorflow_model_server", "")
    everywhere = {"host": "0.0.0.0"}
    assert choose_engine("auto", settings(tmp_path, **everywhere)).kind == "binary"
    chosen = choose_engine("auto", settings(tmp_path, **everywhere, **options))
    assert (chosen.kind, reason in chosen.why) == ("embedded", True)
    with pytest.raises(EngineError, match=reason):
        choose_engine("binary", settings(tmp_path, **everywhere, **options))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "192.0.2.1"])
def test_container_engines_publish_on_the_given_host_only(
    programs: Path, tmp_path: Path, host: str
) -> None:
    program(programs, "tensorflow_model_server", "")
    chosen = choose_engine("auto", settings(tmp_path, host=host))
    assert (chosen.kind, "would listen on every address" in chosen.why) == ("embedded", True)
    with pytest.raises(
        EngineError, match=f"listens on every address of this machine, and --host is {host}"
    ):
        choose_engine("binary", settings(tmp_path, host=host))
    program(programs, "docker", "")
    assert choose_engine("auto", settings(tmp_path, host=host)).kind == "container", (
        "its ports are published there"
    )


def test_the_binary_is_run(
    programs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    printed = tmp_path / "printed"
    read = "Path(next(a for a in sys.argv if 'monitoring' in a).split('=')[1]).read_text()"
    program(
        programs,
        "tensorflow_model_server",
        f"Path({str(printed)!r}).write_text(' '.join(sys.argv[1:]) + {read})",
    )
    with caplog.at_level(logging.INFO, "mastery.serving"):
        serve_model(
            settings(
                tmp_path, rest_port=1234, grpc_port=5678, host="0.0.0.0", allow_anonymous=True
            ),
            "auto",
        )
    text = printed.read_text()
    for option in (
        "--port=5678",
        "--rest_api_port=1234",
        "--model_name=tiny",
        f"--model_base_path={tmp_path}",
    ):
        assert option in text
    assert 'path: "/monitoring/prometheus/metrics"' in text
    assert "can be reached from other machines, with no $MASTERY_SERVE_TOKEN" in caplog.messages[0]
    assert caplog.messages[1].startswith("Engine: binary (")
    assert "checks neither digests nor operations" in caplog.messages[2]


def test_models_config_is_passed_to_the_binary(tmp_path: Path) -> None:
    (tmp_path / "models.config").touch()
    monitoring = Path("/somewhere/monitoring.config")
    command = container_command("docker", settings(tmp_path, host="::1"), tmp_path, monitoring)
    assert f"--model_config_file={tmp_path}/models.config" in command
    assert f"{tmp_path}:{tmp_path}:ro" in command
    assert "[::1]:8501:8501" in command
    assert not any(part.startswith("--model_name") for part in command)


def test_a_program_that_fails_is_an_error(programs: Path, tmp_path: Path) -> None:
    program(programs, "tensorflow_model_server", "sys.exit(3)")
    with pytest.raises(EngineError, match="exit code 3"):
        serve_model(settings(tmp_path, host="::", allow_anonymous=True), "binary")


def test_sigterm_reaches_the_started_program(programs: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    program(
        programs,
        "tensorflow_model_server",
        f"Path({str(started)!r}).touch()\nimport time\ntime.sleep(60)",
    )
    chosen = choose_engine("binary", settings(tmp_path, host="0.0.0.0"))

    def stop() -> None:
        while not started.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert run_engine(chosen, settings(tmp_path)) == 0
    thread.join()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"models": Path("/nowhere")}, "found no such folder"),
        ({"name": "a/b"}, "--name: expected a name without '/' and ':', found 'a/b'"),
        ({"tls_cert": Path("/a")}, "both --tls-cert and --tls-key"),
        ({"tls_cert": Path("/a"), "tls_key": Path("/a")}, "/a: expected a PEM file"),
        (
            {"host": "0.0.0.0"},
            r"found no \$MASTERY_SERVE_TOKEN and neither --tls-cert nor --tls-key. Use --allow-a",
        ),
        ({"host": "192.0.2.1", "token": "a"}, "found neither --tls-cert nor --tls-key. Use"),
        ({"host": "example.com"}, "expected a token and TLS"),
        ({"host": ""}, "expected a token and TLS"),
        (
            {"cors_origins": ("example.com",)},
            "--cors-origin example.com: expected an origin such as",
        ),
        ({"cors_origins": ("https://a/b",)}, "expected an origin such as"),
        ({"otlp_endpoint": "localhost:4318"}, "--otlp-endpoint: expected the URL"),
        ({"otlp_endpoint": "http://user:secret@localhost"}, "without user, password"),
        ({"otlp_endpoint": "http://["}, "--otlp-endpoint: expected the URL"),
    ],
)
def test_unusable_settings_are_refused(tmp_path: Path, change: dict, reason: str) -> None:
    with pytest.raises(MasteryError, match=reason):
        serve_model(ServerSettings(**{"models": tmp_path, "name": "tiny", **change}), "embedded")


@pytest.mark.parametrize("token", ["", " ", "two words", "ü", "a\n", "\x00"])
def test_a_token_that_no_header_can_contain_is_refused(token: str) -> None:
    with pytest.raises(MasteryError, match=r"\$MASTERY_SERVE_TOKEN: expected a token") as caught:
        read_token({TOKEN: token}, TOKEN)
    assert repr(token) not in str(caught.value)


def test_tokens_of_the_environment() -> None:
    assert read_token({}, TOKEN) is None
    assert read_token({TOKEN: "sesame!~"}, TOKEN) == "sesame!~"


def test_an_empty_token_stops_the_server(tmp_path: Path) -> None:
    for name in (TOKEN, RELOAD_TOKEN):
        found = subprocess.run(
            [sys.executable, "-m", "pipeline.cli.main", "serve", "--models", str(tmp_path)],
            env={**os.environ, name: ""},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 2
        assert f"${name}: expected a token of printable" in found.stderr


def test_the_folder_of_a_single_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(MasteryError, match="give the folder above"):
        serve_model(settings(tmp_path), "embedded")


def test_the_name_is_that_of_the_newest_manifest(tmp_path: Path) -> None:
    assert model_name(tmp_path) == tmp_path.name
    for version, text in (("1", '{"name": "old"}'), ("2", '{"name": "new"}'), ("10", "broken")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
        (tmp_path / version / "manifest.json").write_text(text)
    assert model_name(tmp_path) == "new"


def test_help_imports_no_tensorflow() -> None:
    code = (
        "import sys; import pipeline.cli.serve_commands; "
        "sys.exit('tensorflow' in sys.modules or 'grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
