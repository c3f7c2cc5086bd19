"""Real servers that take notifications: HTTP, and SMTP with or without encryption and login."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ports import free_port


@dataclass
class Chat:
    """A webhook: answers with the given codes in turn, and then always with the last one."""

    url: str
    answers: list[int]
    received: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def webhook(
    *answers: int, reason: str | None = None, location: str | None = None
) -> Iterator[Chat]:
    """Runs a server that takes JSON by POST.

    Args:
        answers: status codes to answer with.
        reason: the words after the codes; default: those of HTTP.
        location: where to redirect the caller to.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            chat.headers.append(dict(self.headers.items()))
            chat.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(
                chat.answers.pop(0) if len(chat.answers) > 1 else chat.answers[0], reason
            )
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat = Chat(f"http://127.0.0.1:{server.server_port}/hook", list(answers or (200,)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Mailbox(Message):
    """Keeps what arrives; answers an address in `refuses` with the text given there."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []
        self.recipients: list[list[str]] = []  # of each mail
        self.refuses: dict[str, str] = {}
        self.port = free_port()

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def prepare_message(self, session: Any, envelope: Any) -> Any:
        self.recipients.append(list(envelope.rcpt_tos))
        return super().prepare_message(session, envelope)

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)


@contextmanager
def mail_server(
    certificate: tuple[Path, Path] | None = None,
    login: tuple[str, str] | None = None,
    *,
    encrypted: bool = False,
) -> Iterator[Mailbox]:
    """Runs an SMTP server on localhost.

    Args:
        certificate: with one, STARTTLS is required.
        login: name and password that are required.
        encrypted: speak TLS from the start instead.
    """
    mailbox = Mailbox()
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)

    def authenticate(
        _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(
            success=(data.login.decode(), data.password.decode()) == login, handled=False
        )

    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        ssl_context=context if encrypted else None,
        tls_context=None if encrypted else context,
        require_starttls=bool(certificate) and not encrypted,
        authenticator=authenticate if login else None,
        # To aiosmtpd only STARTTLS is encryption: without it, logging in cannot be required.
        auth_required=bool(login) and not encrypted,
        auth_require_tls=not encrypted,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Writes a self-signed certificate of localhost; returns the paths of it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain
        )
    )
    return files
