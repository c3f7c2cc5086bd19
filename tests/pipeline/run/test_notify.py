"""Notifications to real servers: what arrives, what is tried again, and how failures read."""

from __future__ import annotations

import smtplib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components.config.runtime import Notify
from components.contracts.evaluation import Evaluation, GateVerdict, Result
from components.contracts.run_record import RunRecord
from pipeline.run import notify as delivery
from pipeline.run.notify import Notification, deliver, notification_of, notify
from tests.pipeline.receivers import mail_server, make_certificate, webhook
from tests.ports import free_port

SECRET = "s3cret-word"
GATE = GateVerdict(
    text="recall of low >= 0.85: 0.821 FAILED (0.029 below)",
    metric="recall",
    class_="low",
    bound="min",
    threshold=0.85,
    value=0.821,
    passed=False,
)
FAILED = Notification(
    name="algebra",
    state="gates failed",
    run="20261120-040000-abc123",
    gates_failed=[GATE],
    report="/runs/report.html",
)


@pytest.fixture(autouse=True)
def _no_pauses_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def by_webhook(url: str, **more: Any) -> Notify:
    return Notify.model_validate({"webhook": {"url": url}, **more})


def by_mail(port: int, host: str = "localhost", **more: Any) -> Notify:
    email = {
        "host": host,
        "port": port,
        "tls": "none",
        "sender": "Mastery <mastery@example.org>",
        **more,
    }
    return Notify.model_validate(
        {"email": {"to": ["owner@example.org", "team@example.org"], **email}}
    )


def test_a_webhook_gets_text_for_people_and_fields_for_machines() -> None:
    with webhook() as chat:
        assert deliver(by_webhook(chat.url), FAILED) == []
    [sent] = chat.received
    assert sent["text"].splitlines() == [
        "Mastery, algebra: gates failed",
        "- recall of low &gt;= 0.85: 0.821 FAILED (0.029 below)",
        "Nothing was pushed: the version that is served stays.",
        "Report: /runs/report.html",
        f"Run: 20261120-040000-abc123 on {FAILED.machine}",
    ]
    assert Notification.model_validate(sent) == FAILED
    assert (sent["gates_failed"][0]["threshold"], sent["gates_failed"][0]["value"]) == (0.85, 0.821)


def test_an_error_of_the_server_is_tried_again() -> None:
    with webhook(500, 429, 200) as chat:
        assert deliver(by_webhook(chat.url), FAILED) == []
    assert len(chat.received) == 3


def test_a_server_that_stays_broken_is_given_up() -> None:
    with webhook(503) as chat:
        assert deliver(by_webhook(chat.url), FAILED) == [
            "notify.webhook: expected an answer 2xx, found 503 Service Unavailable"
        ]
    assert len(chat.received) == 4


def test_a_refusal_is_not_tried_again() -> None:
    with webhook(404) as chat:
        [problem] = deliver(by_webhook(chat.url), FAILED)
    assert problem.endswith("found 404 Not Found")
    assert len(chat.received) == 1


def test_an_unreachable_server_is_reported_in_one_line_without_the_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT", f"http://127.0.0.1:{free_port()}/{SECRET}")
    config = Notify.model_validate(
        {"webhook": {"url_env": "CHAT"}, "email": by_mail(free_port()).email}
    )
    notify(config, FAILED)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "mastery: notify.webhook: the server could not be reached (ConnectError)",
        "mastery: notify.email: the server could not be reached (Connection refused)",
    ]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "the environment variable CHAT is missing or empty"),
        (f"ftp://{SECRET}", "expected an address that starts with https:// or http://"),
        (SECRET, "expected an address that starts with https:// or http://"),
    ],
)
def test_a_variable_without_an_address_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: str, says: str
) -> None:
    monkeypatch.setenv("CHAT", value)
    [problem] = deliver(Notify.model_validate({"webhook": {"url_env": "CHAT"}}), FAILED)
    assert problem.startswith(f"notify.webhook: {says}")
    assert SECRET not in problem


def test_a_mail_by_starttls_and_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("WORD", SECRET)
    with mail_server(certificate, login=("mastery", SECRET)) as mailbox:
        config = by_mail(mailbox.port, tls="starttls", user="mastery", password_env="WORD")
        assert deliver(config, FAILED) == []
        monkeypatch.setenv("WORD", "another")
        [refused] = deliver(config, FAILED)
    [mail] = mailbox.mails
    assert (mail["Subject"], mail["To"]) == (
        "Mastery, algebra: gates failed",
        "owner@example.org, team@example.org",
    )
    assert mail["From"] == "Mastery <mastery@example.org>"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail.get_payload().splitlines() == FAILED.text.splitlines()
    assert refused == "notify.email: the server refused it (SMTPAuthenticationError, 535)"


def test_a_server_with_an_untrusted_certificate_gets_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", SECRET)
    with mail_server(make_certificate(tmp_path), login=("mastery", SECRET)) as mailbox:
        [problem] = deliver(
            by_mail(mailbox.port, tls="starttls", user="mastery", password_env="WORD"), FAILED
        )
    assert "certificate cannot be trusted" in problem
    assert mailbox.mails == []


def test_a_relay_without_encryption_or_login() -> None:
    with mail_server() as mailbox:
        assert deliver(by_mail(mailbox.port, "127.0.0.1"), FAILED) == []
    assert len(mailbox.mails) == 1


def test_only_configured_states_are_notified() -> None:
    with webhook() as chat:
        for state in ("passed", "no new data", "gates failed", "failed", "interrupted"):
            notify(by_webhook(chat.url), FAILED.model_copy(update={"state": state}))
        assert [sent["state"] for sent in chat.received] == ["gates failed", "failed"]
        notify(
            by_webhook(chat.url, on=["passed"]),
            Notification(name="algebra", state="passed", pushed_version="/serving/17"),
        )
    assert "a new version is pushed" in chat.received[-1]["text"]
    assert "Pushed: /serving/17" in chat.received[-1]["text"]


def test_the_notification_of_a_run_names_its_gates_or_its_error(tmp_path: Path) -> None:
    held = GATE.model_copy(update={"passed": True})
    overall = Result(examples=9, metrics={})
    found = Evaluation(task="classification", blessed=False, gates=[held, GATE], overall=overall)
    metrics = found.write(tmp_path)
    shared = {"run": FAILED.run, "name": "algebra", "started": datetime.now(UTC)}
    gated = RunRecord.model_validate(
        {**shared, "state": "gates failed", "metrics": str(metrics), "report": "/runs/report.html"}
    )
    assert notification_of(gated) == FAILED
    broken = notification_of(
        RunRecord.model_validate({**shared, "state": "failed", "error": "x" * 5000})
    )
    assert len(broken.text) < 2500
    assert broken.error == "x" * 5000


def by(*changes: str) -> dict[str, Any]:
    email = {"host": "h", "sender": "a@b", "to": ["c@d"]}
    return {"email": {**email, **dict(zip(changes[::2], changes[1::2], strict=True))}}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"webhook": {}}, "expected one of url and url_env"),
        ({"webhook": {"url": "https://a.example", "url_env": "A"}}, "one of url and url_env"),
        ({"webhook": {"url": "a.example/hook"}}, "expected an address that starts with https://"),
        ({"webhook": {"url": "https://me:word@a.example"}}, "expected an address without user"),
        (by("user", "me"), "expected both of user and password_env"),
        (by("user", "me", "password_env", "P", "tls", "none"), "expected starttls or tls with"),
        (by("sender", "nobody"), "String should match"),
        ({"on": ["sometimes"]}, "Input should be"),
    ],
)  # fmt: skip
def test_a_wrong_section_is_an_error_before_the_run(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Notify.model_validate(section)


HOSTILE = Notification(
    name="algebra",
    state="failed",
    error="class <!channel> of <http://evil.example|it> & @all\x1b[2J\nSubject: other",
)


def test_a_chat_gets_escaped_text_and_a_program_the_original() -> None:
    with webhook() as chat:
        assert deliver(by_webhook(chat.url), HOSTILE) == []
    [sent] = chat.received
    assert (
        "class &lt;!channel&gt; of &lt;http://evil.example|it&gt; &amp; @\u200ball\\u001b[2J\n"
        in sent["text"]
    )
    assert sent["error"] == HOSTILE.error


def test_a_mail_has_one_subject_and_no_escape_sequences() -> None:
    two_lines = HOSTILE.model_copy(update={"name": "algebra\nBcc: everybody@example.org\x1b"})
    with mail_server() as mailbox:
        assert deliver(by_mail(mailbox.port, "127.0.0.1"), two_lines) == []
    [mail] = mailbox.mails
    assert mail["Subject"] == "Mastery, algebra\\u000aBcc: everybody@example.org\\u001b: failed"
    assert mail["Bcc"] is None
    assert "\x1b" not in mail.get_payload()


def test_a_redirection_is_not_followed() -> None:
    with webhook() as elsewhere, webhook(302, location=elsewhere.url) as chat:
        [problem] = deliver(by_webhook(chat.url), FAILED)
        assert (len(chat.received), elsewhere.received) == (1, [])
    assert problem == "notify.webhook: expected an answer 2xx, found 302 Found"


def test_the_words_of_a_server_are_not_repeated() -> None:
    with webhook(404, reason=f"no hook {SECRET}") as chat:
        assert deliver(by_webhook(chat.url), FAILED) == [
            "notify.webhook: expected an answer 2xx, found 404 Not Found"
        ]


def test_an_unexpected_error_is_named_without_its_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(delivery, "post", fail)
    assert deliver(by_webhook("https://chat.example"), FAILED) == [
        "notify.webhook: an unexpected ValueError"
    ]


def test_addresses_that_the_mail_server_refuses_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = {"owner@example.org": (550, b"")}
    monkeypatch.setattr(smtplib.SMTP, "send_message", lambda *_, **__: refused)
    with mail_server() as mailbox:
        assert deliver(by_mail(mailbox.port, "127.0.0.1"), FAILED) == [
            "notify.email: the server refused 1 of 2 addresses"
        ]


def test_a_mail_server_that_does_not_speak_tls_gets_no_mail() -> None:
    with mail_server() as mailbox:
        [problem] = deliver(by_mail(mailbox.port, "127.0.0.1", tls="tls"), FAILED)
    assert problem.startswith("notify.email: the server could not be reached (")
    assert mailbox.mails == []


def test_a_mail_server_without_starttls_gets_no_mail() -> None:
    with mail_server() as mailbox:
        config = by_mail(mailbox.port, "127.0.0.1", tls="starttls")
        assert deliver(config, FAILED) == [
            "notify.email: the server refused it (SMTPNotSupportedError)"
        ]
    assert mailbox.mails == []
