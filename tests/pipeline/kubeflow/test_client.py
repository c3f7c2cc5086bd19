"""Connecting: where the address comes from, and the errors when it does not work."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.kubeflow.client import LONGEST, KubeflowError, message_of
from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stand_in import RefusedError, StandIn
from tests.pipeline.kubeflow.stand_in_server import Server

TOKEN = "s3cr3t-t0ken"


def refused(mastery: Mastery, *arguments: str) -> str:
    code, out, err = mastery("list", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("mastery: ")
    assert "Traceback" not in err
    assert TOKEN not in err
    return err


@pytest.fixture
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTERY_KUBEFLOW_HOST", raising=False)


def test_the_option_wins_over_the_environment_and_that_over_the_file(
    mastery: Mastery, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://nowhere.invalid"
    assert mastery("list", "--set", f"kubeflow.host={nowhere}")[0] == 0
    monkeypatch.setenv("MASTERY_KUBEFLOW_HOST", nowhere)
    assert mastery("list", "--host", f"{server.url}/")[0] == 0
    monkeypatch.delenv("MASTERY_KUBEFLOW_HOST")
    assert mastery("list", "--set", f"kubeflow.host={server.url}")[0] == 0


@pytest.mark.usefixtures("no_host")
def test_a_missing_or_incomplete_host_is_an_error(mastery: Mastery) -> None:
    assert "kubeflow.host: expected the address of Kubeflow Pipelines" in refused(mastery)
    assert "begins with http:// or https://, found 'cluster:8888'" in refused(
        mastery, "--host", "cluster:8888"
    )


@pytest.mark.usefixtures("no_host")
@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("https://jane:s3cr3t-t0ken@kfp.test", "an address without user name and password"),
        ("http://[::1", "expected an address such as http://localhost:8080, found 'http://[::1'"),
        ("http://kfp.test:0", "expected an address such as http://localhost:8080"),
        ("http://kfp.test:web", "expected an address such as http://localhost:8080"),
    ],
)
def test_an_invalid_address_is_refused(mastery: Mastery, host: str, says: str) -> None:
    assert says in refused(mastery, "--host", host)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error_message": "a\\n b", "message": "c"}', "a b"),
        ('{"code": 3}', ""),
        ("upstream   connect error", "upstream connect error"),
        ("<html>Bad gateway</html>", ""),
        (None, ""),
        ("x" * 700, "x" * (LONGEST - 1) + "…"),
    ],
)
def test_the_message_of_an_answer_is_one_line(body: str | None, message: str) -> None:
    assert message_of(body) == message


def test_only_temporary_errors_are_tried_again() -> None:
    statuses = [0, 400, 401, 404, 408, 409, 429, 500, 503]
    temporary = [status for status in statuses if KubeflowError("", status).is_temporary]
    assert temporary == [0, 408, 429, 500, 503]


@pytest.mark.usefixtures("no_host")
def test_a_host_that_does_not_answer_is_an_error(mastery: Mastery) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        text = refused(mastery, "--host", f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "could not reach Kubeflow Pipelines (connection failed)" in text
    assert "no such host name" in refused(mastery, "--host", "http://nowhere.invalid")


def test_a_token_is_sent_and_never_shown(
    mastery: Mastery, cluster: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.token = TOKEN
    assert "`kubeflow.token_env`" in refused(mastery)
    assert "expected a bearer token in $KFP_TOKEN, found none" in refused(
        mastery, "--set", "kubeflow.token_env=KFP_TOKEN"
    )
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    code, out, err = mastery("submit", "--set", "kubeflow.token_env=KFP_TOKEN")
    assert code == 0
    assert TOKEN not in out + err
    cluster.token = "another"
    assert "the token in $KFP_TOKEN was not accepted (401: Unauthenticated)" in refused(
        mastery, "--set", "kubeflow.token_env=KFP_TOKEN"
    )


def test_a_forbidden_request_is_explained(mastery: Mastery, cluster: StandIn) -> None:
    cluster.refuse = lambda name: (
        RefusedError(403, "no list on pipelines") if name.endswith("pipelines") else None
    )
    assert (
        "you are not allowed to do this (403: no list on pipelines). Check `kubeflow.namespace`"
        in refused(mastery)
    )


def test_a_server_without_the_api_is_explained(mastery: Mastery, cluster: StandIn) -> None:
    cluster.refuse = lambda _: RefusedError(404, "Not Found")
    assert "older than 2.0: update it" in refused(mastery)


def test_a_login_page_instead_of_the_api_is_explained(mastery: Mastery, cluster: StandIn) -> None:
    cluster.page = b"<!doctype html><title>Log in</title>"
    assert (
        "answered with text/html; charset=utf-8, not with the API's JSON; most likely a login"
        in refused(mastery)
    )


def test_a_server_of_several_users_requires_a_namespace(mastery: Mastery, cluster: StandIn) -> None:
    cluster.multi_user = True
    assert "kubeflow.namespace:" in refused(mastery)
    assert mastery("schedule", "--cron", "0 3 * * *", "--namespace", "team-a")[0] == 0
    assert mastery("schedule", "--cron", "0 3 * * *", "--set", "kubeflow.namespace=team-a")[0] == 0
    assert mastery("list", "--namespace", "kubeflow")[0] == 0  # KFP's own word for "none given"
    assert [
        item.namespace for item in (*cluster.pipelines.values(), *cluster.experiments.values())
    ] == ["team-a"] * 2


def test_a_login_page_in_between_starts_nothing(mastery: Mastery, cluster: StandIn) -> None:
    def expire(name: str) -> None:
        if name == "experiment_service_create_experiment":
            cluster.page = b"<!doctype html><title>Log in</title>"

    cluster.refuse = expire
    code, out, err = mastery("run")
    assert code == 2
    assert "most likely a login page" in err
    assert "Started" not in out


def test_a_certificate_of_an_authority_of_our_own(
    mastery: Mastery, server: Server, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    host = f"https://127.0.0.1:{server.server_port}"
    assert "its certificate is not trusted" in refused(mastery, "--host", host)
    assert mastery("list", "--host", host, "--set", f"kubeflow.ca_cert={certificate}")[0] == 0


def self_signed(folder: Path) -> Path:
    """Writes a key and a certificate for this machine into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "stand-in.pem"
    encoding = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(encoding)
    )
    return file


def test_a_missing_file_of_certificates_is_an_error(mastery: Mastery) -> None:
    assert "kubeflow.ca_cert: expected a file of certificates" in refused(
        mastery, "--host", "https://127.0.0.1:1", "--set", "kubeflow.ca_cert=absent.pem"
    )


def test_help_does_not_wait_for_kfp() -> None:
    code = (
        "import sys, pipeline.cli.kubeflow_commands; "
        "print('kfp' in sys.modules, 'pydantic' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
