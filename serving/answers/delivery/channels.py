"""The receivers of alerts: webhooks, mail servers and files."""

from __future__ import annotations

import fcntl
import io
import json
import os
import time
from datetime import UTC, datetime, timedelta
from email.generator import BytesGenerator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from components import sending
from components.sending import UndeliveredError
from serving.answers.delivery import chats
from serving.answers.delivery.mails import write_mail
from serving.answers.delivery.notice import Notice
from serving.answers.delivery.outbox import Claim, message_id
from serving.answers.delivery_settings import Channel, FileChannel, MailChannel, WebhookChannel

if TYPE_CHECKING:
    from components.config.runtime import Webhook

_SENDER = "Mastery <mastery@localhost>"  # of mails in a mailbox file
_ACCEPTED = "accepted"  # key of a payload: addresses that have the mail already
_LOCK_WAIT = 20.0  # seconds


class WebhookReceiver:
    """Posts alerts to a chat or a service."""

    in_order = False

    def __init__(self, channel: WebhookChannel) -> None:
        self.channel = channel
        self.lease = lease_for(channel.timeout_seconds, steps=4)

    def send(self, claimed: Claim) -> None:
        """Sends an alert; its idempotency key is in a header, for services also in the body.

        Raises:
            UndeliveredError: the receiver did not take it.
        """
        notice = _notice(claimed)
        identifier = message_id(claimed.key)
        if self.channel.form == "json":
            fields = notice.model_dump(mode="json", by_alias=True)
            body: dict[str, Any] = {"id": identifier, **fields}
        else:
            body = chats.render(self.channel.form, notice)
        post_json(self.channel, body, identifier)


class MailReceiver:
    """Sends alerts by mail, one to all addresses."""

    in_order = False

    def __init__(self, channel: MailChannel) -> None:
        self.channel = channel
        # Connecting, greeting, encrypting, logging in, the mail itself, and every address.
        self.lease = lease_for(channel.timeout_seconds, steps=8 + len(channel.to))

    def send(self, claimed: Claim) -> None:
        """Sends an alert to the addresses that do not have it yet.

        Raises:
            UndeliveredError: the server did not take it, or refused some of the addresses.
        """
        channel = self.channel
        accepted = claimed.payload.get(_ACCEPTED, [])
        identifier = message_id(claimed.key)
        message = write_mail(
            _notice(claimed), identifier, datetime.now(UTC), sender=channel.sender, to=channel.to
        )
        try:
            to = [address for address in channel.to if address not in accepted]
            sending.mail(channel, message, to)
        except UndeliveredError as error:
            if error.accepted:
                has_it = [*accepted, *error.accepted]
                claimed.left = {**claimed.payload, _ACCEPTED: has_it}
            raise


class FileReceiver:
    """Appends alerts to a file, as JSON Lines or as a mailbox."""

    in_order = False
    lease = timedelta(minutes=1)

    def __init__(self, channel: FileChannel) -> None:
        self.channel = channel

    def send(self, claimed: Claim) -> None:
        """Appends an alert.

        Raises:
            UndeliveredError: the file cannot be written.
        """
        notice = _notice(claimed)
        identifier = message_id(claimed.key)
        now = datetime.now(UTC)
        if self.channel.form == "jsonl":
            fields = notice.model_dump(mode="json", by_alias=True)
            line = {"id": identifier, "at": now.isoformat(), **fields}
            content = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        else:
            message = write_mail(notice, identifier, now, sender=_SENDER, to=[])
            content = _in_mailbox(message, now)
        try:
            append_whole(Path(self.channel.path), content)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UndeliveredError(
                f"the file could not be written ({reason})", temporary=True, busy=True
            ) from None


def _in_mailbox(message: EmailMessage, now: datetime) -> bytes:
    """Returns a mail as a mailbox holds it: `From ` begins the next one, so texts escape it."""
    message.set_unixfrom(f"From mastery@localhost {now:%a %b %d %H:%M:%S %Y}")
    content = io.BytesIO()
    generator = BytesGenerator(content, mangle_from_=True, policy=default)
    generator.flatten(message, unixfrom=True, linesep="\n")
    return content.getvalue() + b"\n"


def receiver_of(channel: Channel) -> WebhookReceiver | MailReceiver | FileReceiver:
    """Returns what sends to a channel."""
    if isinstance(channel, WebhookChannel):
        return WebhookReceiver(channel)
    if isinstance(channel, MailChannel):
        return MailReceiver(channel)
    return FileReceiver(channel)


def post_json(webhook: Webhook, body: object, identifier: str) -> None:
    """Posts JSON with an idempotency key.

    Raises:
        UndeliveredError: the receiver did not take it.
    """
    headers = {"Content-Type": "application/json", "Idempotency-Key": identifier}
    content = json.dumps(body, ensure_ascii=False).encode()
    sending.post(address_of(webhook), content, headers, timeout=webhook.timeout_seconds)


def address_of(webhook: Webhook) -> str:
    """Returns where to post to; the environment may hold it."""
    return webhook.url or sending.secret(webhook.url_env or "")


def lease_for(timeout_seconds: float, steps: int) -> timedelta:
    """Returns how long a message is kept from others while so many steps may each time out."""
    return timedelta(seconds=30 + steps * timeout_seconds)


def _notice(claimed: Claim) -> Notice:
    try:
        return Notice.model_validate(claimed.payload)
    except ValidationError:
        raise UndeliveredError("the message is not an alert") from None


def append_whole(path: Path, content: bytes) -> None:
    """Appends to a file: all of the content or, after a crash, nothing of it.

    While it writes, a file beside it says how long the file was. Whoever finds such a file cuts off
    what a killed writer has left, and nothing that others have appended since.

    Raises:
        OSError: the file cannot be written or locked.
    """
    beside = path.with_name(f".{path.name}.undo")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        _lock(descriptor)
        _cut_off_rest(descriptor, beside)

        before = os.fstat(descriptor).st_size
        beside.write_text(f"{before} {before + len(content)}", encoding="ascii")
        try:
            _write(descriptor, content)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
        finally:
            beside.unlink()
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])
    os.fsync(descriptor)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _cut_off_rest(descriptor: int, beside: Path) -> None:
    try:
        before, after = map(int, beside.read_text(encoding="ascii").split())
    except FileNotFoundError:
        return
    except ValueError:  # killed while it was being written: nothing had been appended yet
        beside.unlink()
        return
    if before < os.fstat(descriptor).st_size <= after:
        os.ftruncate(descriptor, before)
    beside.unlink()
