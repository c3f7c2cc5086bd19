"""Sends one request by HTTP or one mail by SMTP, once; a failure says whether to try again.

No error holds an address or a password, and none repeats the words of a server.
"""

from __future__ import annotations

import http
import logging
import os
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr, parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from components.config.runtime import Email

_LONGEST_RETRY_AFTER = 86_400.0  # seconds; no receiver can silence us for longer
TEMPORARY = {408, 425, 429}  # of HTTP, and every 5xx
_BUSY = {429, 502, 503, 504}  # the receiver takes nothing at all for now
_CLOSING = 421  # of SMTP: the server is about to stop


class UndeliveredError(Exception):
    """A message was not delivered; the text says why, in one line and without secrets.

    Attributes:
        temporary: whether another attempt may succeed.
        busy: whether the receiver takes no other message either for now.
        retry_after: seconds that the receiver asks to wait; None if it does not say.
        status: of HTTP, if there was an answer.
        accepted: addresses for which a mail was accepted all the same.
    """

    def __init__(
        self,
        text: str,
        *,
        temporary: bool = False,
        busy: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
        accepted: Sequence[str] = (),
    ) -> None:
        super().__init__(text)
        self.temporary = temporary
        self.busy = busy
        self.retry_after = retry_after
        self.status = status
        self.accepted = list(accepted)


def secret(variable: str) -> str:
    """Returns the value of an environment variable.

    Raises:
        UndeliveredError: it is missing or empty, which somebody may put right.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UndeliveredError(
            f"the environment variable {variable} is missing or empty", temporary=True, busy=True
        )
    return value


def post(
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    timeout: float,
    login: tuple[str, str] | None = None,
    method: str = "POST",
) -> None:
    """Sends a body to a server, once.

    A redirection is not followed, because the message may be for that server only. Only status and
    headers of an answer are read.

    Args:
        url: the address.
        content: the body.
        headers: with `Content-Type`.
        timeout: seconds to wait at each step: connecting, sending, reading.
        login: name and password for basic authentication.
        method: POST or PUT.

    Raises:
        UndeliveredError: the server refuses it, or cannot be reached.
    """
    import httpx

    for name in ("httpx", "httpcore"):  # below warnings they log addresses
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with httpx.stream(
            method, url, content=content, headers=dict(headers), timeout=timeout, auth=login
        ) as answer:
            status, asked = answer.status_code, retry_after(answer.headers)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise UndeliveredError("expected an address that starts with https:// or http://") from None
    except httpx.TransportError as error:
        raise UndeliveredError(
            f"the server could not be reached ({type(error).__name__})", temporary=True, busy=True
        ) from None

    if not httpx.codes.is_success(status):
        temporary = httpx.codes.is_server_error(status) or status in TEMPORARY
        raise UndeliveredError(
            f"expected an answer 2xx, found {describe_status(status)}",
            temporary=temporary,
            busy=temporary and (status in _BUSY or asked is not None),
            retry_after=asked,
            status=status,
        )


def retry_after(headers: httpx.Headers) -> float | None:
    """Returns how many seconds a receiver asks to wait: it gives a number or a moment."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        seconds = float(asked)
    else:
        try:
            moment = parsedate_to_datetime(asked)
        except (TypeError, ValueError):
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def describe_status(status: int) -> str:
    """Returns a status by its standard name; the server's own words might repeat the address."""
    known = {item.value: item.phrase for item in http.HTTPStatus}
    return f"{status} {known.get(status, '')}".rstrip()


def mail(server: Email, message: EmailMessage, to: Sequence[str] | None = None) -> None:
    """Sends a mail, once.

    Args:
        server: how to reach the SMTP server, and the login.
        message: with its headers.
        to: the addresses it still has to go to; None for those in its headers.

    Raises:
        UndeliveredError: the server refuses it, or some of the addresses, or cannot be reached.
    """
    password = secret(server.password_env) if server.password_env else None
    try:
        with _open_smtp(server) as connection:
            if server.user and password:
                connection.login(server.user, password)
            refused = connection.send_message(message, to_addrs=to)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except smtplib.SMTPResponseException as error:
        answer = f"{type(error).__name__}, {error.smtp_code}"
        raise UndeliveredError(
            f"the server refused it ({answer})",
            temporary=_is_temporary(error.smtp_code),
            busy=error.smtp_code == _CLOSING,
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise UndeliveredError(
            f"the server's certificate cannot be trusted ({error.verify_message})",
            temporary=True,
            busy=True,
        ) from None
    except smtplib.SMTPServerDisconnected:
        raise UndeliveredError(
            "the server ended the connection", temporary=True, busy=True
        ) from None
    except smtplib.SMTPException as error:
        raise UndeliveredError(f"the server refused it ({type(error).__name__})") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UndeliveredError(
            f"the server could not be reached ({reason})", temporary=True, busy=True
        ) from None

    if refused:
        every = server.to if to is None else to
        bare = {parseaddr(address)[1] for address in refused}
        raise UndeliveredError(
            f"the server refused {len(refused)} of {len(every)} addresses",
            temporary=any(_is_temporary(code) for code, _ in refused.values()),
            accepted=[address for address in every if parseaddr(address)[1] not in bare],
        )


def _is_temporary(code: int) -> bool:
    return 400 <= code < 500


def _open_smtp(server: Email) -> smtplib.SMTP:
    if server.tls == "tls":
        trusted = ssl.create_default_context()
        return smtplib.SMTP_SSL(
            server.host, server.port, timeout=server.timeout_seconds, context=trusted
        )

    connection = smtplib.SMTP(server.host, server.port, timeout=server.timeout_seconds)
    try:
        if server.tls == "starttls":
            connection.starttls(context=ssl.create_default_context())
    except BaseException:
        connection.close()
        raise
    return connection
