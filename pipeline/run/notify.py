"""Notifies people how a run ended, or what a watch found, by webhook and by mail.

A message that cannot be delivered is reported in one line and never fails the run. No error holds
an address or a password.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from components import sending
from components.command.escape import for_chat, for_terminal, in_one_line, shorten
from components.contracts.evaluation import Evaluation, GateVerdict
from components.contracts.run_record import RunRecord, RunState
from components.sending import UndeliveredError

if TYPE_CHECKING:
    from components.config.runtime import Email, Notify, Webhook

PAUSES = (1.0, 4.0, 10.0)  # seconds before the second, third and fourth attempt
_SHOWN_ERROR = 2000  # characters of an error in a message; the run's record has all of it


class Notification(BaseModel):
    """How a run ended, for any runner, or what a watch found; a webhook gets it as JSON.

    Attributes:
        name: of the pipeline.
        state: how the run ended; `test` for a message that tests the delivery, `attention`
            for what `mastery watch` found.
        run: its id, None if it could not start.
        gates_failed: the gates that failed.
        error: why it failed.
        report: path or URL of the report.
        pushed_version: path or URL of the pushed version, None if nothing was pushed.
        retrained_because: why the model was trained again, where `mastery retrain` decided it.
        findings: what `mastery watch` found, a text each.
        machine: where it ran.
    """

    name: str
    state: RunState | Literal["test", "attention"]
    run: str | None = None
    gates_failed: list[GateVerdict] = []
    error: str | None = None
    report: str | None = None
    pushed_version: str | None = None
    retrained_because: str | None = None
    findings: list[str] = []
    machine: str = socket.gethostname()

    @property
    def title(self) -> str:
        """The message in a few words."""
        words = {"test": "this is a test", "attention": "the model calls for attention"}
        what = words.get(self.state, self.state)
        pushed = ", a new version is pushed" if self.pushed_version else ""
        return f"Mastery, {self.name}: {what}{pushed}"

    @property
    def text(self) -> str:
        """The whole message, one line per fact."""
        if self.state == "test":
            return f"{self.title}\n{self.machine}"
        if self.state == "attention":
            return "\n".join([self.title, *(f"- {text}" for text in self.findings), self.machine])

        lines = [self.title]
        lines += [f"Trained again: {self.retrained_because}"] if self.retrained_because else []
        lines += [_describe_gate(gate) for gate in self.gates_failed]
        if self.error:
            lines.append(shorten(self.error, _SHOWN_ERROR))
        if self.pushed_version:
            lines.append(f"Pushed: {self.pushed_version}")
        else:
            lines.append("Nothing was pushed: the version that is served stays.")
        if self.report:
            lines.append(f"Report: {self.report}")
        lines.append(f"Run: {self.run or 'did not start'} on {self.machine}")
        return "\n".join(lines)


def _describe_gate(gate: GateVerdict) -> str:
    return f"- {gate.text}: {gate.reason}" if gate.reason else f"- {gate.text}"


def notification_of(record: RunRecord) -> Notification:
    """Returns the notification of a run that has ended.

    Raises:
        ContractError: the Evaluator's metrics cannot be read.
    """
    gates = Evaluation.read_file(Path(record.metrics)).gates if record.metrics else []
    return Notification(
        name=record.name,
        state=record.state,
        run=record.run,
        gates_failed=[gate for gate in gates if not gate.passed],
        error=record.error,
        report=record.report,
        pushed_version=record.pushed_version if record.state == "passed" else None,
        retrained_because=record.retraining.why if record.retraining else None,
    )


def notify(config: Notify, notification: Notification) -> None:
    """Sends a notification if `config.on` has its state; failures go to standard error."""
    if notification.state in config.on:
        for problem in deliver(config, notification):
            print(f"mastery: {problem}", file=sys.stderr)


def deliver(config: Notify, notification: Notification) -> list[str]:
    """Sends a notification by webhook and by mail, where they are configured.

    Returns:
        One line per failed delivery, without secrets.
    """
    ways: list[tuple[str, Callable[[], None]]] = []
    webhook, email = config.webhook, config.email
    if webhook:
        fields = notification.model_dump(mode="json", by_alias=True)
        payload = {"text": for_chat(notification.text), **fields}
        ways.append(("notify.webhook", lambda: post(webhook, payload)))
    if email:
        title = in_one_line(notification.title)
        text = for_terminal(notification.text)
        ways.append(("notify.email", lambda: send_mail(email, title, text)))

    problems = []
    for way, attempt in ways:
        try:
            attempt()
        except UndeliveredError as error:
            problems.append(f"{way}: {error}")
        except Exception as error:  # its text may hold a secret, and it must not fail the run
            problems.append(f"{way}: an unexpected {type(error).__name__}")
    return problems


def post(webhook: Webhook, payload: dict[str, Any]) -> None:
    """Sends JSON by POST; tries again if the server is unreachable, busy or fails itself.

    Raises:
        UndeliveredError: the server refuses it, or cannot be reached.
    """
    url = webhook.url or sending.secret(webhook.url_env or "")
    content = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json"}
    _retry(lambda: sending.post(url, content, headers, timeout=webhook.timeout_seconds))


def send_mail(email: Email, subject: str, text: str) -> None:
    """Sends a mail of plain text; tries again if the server is unreachable or busy.

    Raises:
        UndeliveredError: the server refuses it, or cannot be reached.
    """
    if email.password_env:
        sending.secret(email.password_env)  # without it, no attempt can succeed
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = email.sender
    message["To"] = ", ".join(email.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid("mastery", email.sender.rpartition("@")[2].rstrip(">"))
    message.set_content(text)
    _retry(lambda: sending.mail(email, message))


def _retry(attempt: Callable[[], None]) -> None:
    for pause in PAUSES:
        try:
            return attempt()
        except UndeliveredError as error:
            if not error.temporary or error.accepted:
                raise
            time.sleep(pause)
    return attempt()
