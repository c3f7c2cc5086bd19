"""Delivers a message to a webhook or a mail server, with a few tries. Errors never hold an address or a password."""

from __future__ import annotations

import http
import logging
import os
import smtplib
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from components.config.runtime import Email, Webhook

PAUSES = (1.0, 4.0, 10.0)  # seconds before the second, third and fourth try
TRY_AGAIN = (429,)  # beside all from 500 on


class UndeliveredError(Exception):
    """A message did not arrive; the text says why, in one line and without secrets."""


class _PassingError(UndeliveredError):
    """It may arrive at another try."""


def post(webhook: Webhook, payload: dict[str, Any]) -> None:
    """Sends JSON by POST; tries again when the server is not there, is busy, or answers with an error of its own.

    A redirection is not followed, since the message may be for that server only. Of an answer only
    the status is read.

    Raises:
        UndeliveredError: the server refuses it, or there is no way to the server.
    """
    import httpx

    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(
            logging.WARNING
        )  # below that they write addresses to the log
    url = webhook.url or _secret(webhook.url_env)

    def attempt() -> None:
        try:
            with httpx.stream("POST", url, json=payload, timeout=webhook.timeout_seconds) as answer:
                status = answer.status_code
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise UndeliveredError(
                "expected an address that starts with https:// or http://, found another"
            ) from None
        except httpx.TransportError as error:
            raise _PassingError(
                f"the server could not be reached ({type(error).__name__})"
            ) from None
        if httpx.codes.is_success(status):
            return
        kind = (
            _PassingError
            if httpx.codes.is_server_error(status) or status in TRY_AGAIN
            else UndeliveredError
        )
        raise kind(f"expected an answer 2xx, found {_say_status(status)}")

    _try(attempt)


def send(email: Email, subject: str, text: str) -> None:
    """Sends a mail of plain text; tries again when the server is not there or answers that it is for now not able to.

    Raises:
        UndeliveredError: the server refuses it, or there is no way to the server.
    """
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, email.sender, ", ".join(email.to)
    domain = email.sender.rpartition("@")[2].rstrip(">")
    message["Date"], message["Message-ID"] = formatdate(), make_msgid("mastery", domain)
    message.set_content(text)
    password = _secret(email.password_env) if email.password_env else None

    def attempt() -> None:
        try:
            with _connect(email) as server:
                if email.user and password:
                    server.login(email.user, password)
                refused = server.send_message(message)
        except smtplib.SMTPResponseException as error:  # 4xx: later perhaps; 5xx: never
            kind = _PassingError if 400 <= error.smtp_code < 500 else UndeliveredError
            raise kind(
                f"the server refused it ({type(error).__name__}, {error.smtp_code})"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise UndeliveredError(
                f"the server's certificate cannot be trusted ({error.verify_message})"
            ) from None
        except smtplib.SMTPException as error:
            raise UndeliveredError(f"the server refused it ({type(error).__name__})") from None
        except OSError as error:
            raise _PassingError(
                f"the server could not be reached ({error.strerror or type(error).__name__})"
            ) from None
        if refused:
            raise UndeliveredError(
                f"the server refused {len(refused)} of {len(email.to)} addresses"
            )

    _try(attempt)


def _connect(email: Email) -> smtplib.SMTP:
    if email.tls == "tls":
        trusted = ssl.create_default_context()
        return smtplib.SMTP_SSL(
            email.host, email.port, timeout=email.timeout_seconds, context=trusted
        )
    server = smtplib.SMTP(email.host, email.port, timeout=email.timeout_seconds)
    try:
        if email.tls == "starttls":
            server.starttls(context=ssl.create_default_context())
    except BaseException:
        server.close()
        raise
    return server


def _try(attempt: Callable[[], None]) -> None:
    for pause in PAUSES:
        try:
            return attempt()
        except _PassingError:
            time.sleep(pause)
    return attempt()


def _say_status(status: int) -> str:
    """Returns a status in our words; the server's own might hold the address it was asked by."""
    known = {item.value: item.phrase for item in http.HTTPStatus}
    return f"{status} {known.get(status, '')}".rstrip()


def _secret(variable: str | None) -> str:
    value = os.environ.get(variable or "", "").strip()
    if not value:
        raise UndeliveredError(f"expected the environment variable {variable}, found none")
    return value
