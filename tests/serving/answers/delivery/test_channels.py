"""Alerts on their way to chats, services, mail servers and files."""

from __future__ import annotations

import json
import mailbox
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from serving.answers.database import open_database
from serving.answers.delivery.channels import append_whole
from serving.answers.delivery.outbox import message_id
from tests.pipeline.receivers import mail_server, make_certificate
from tests.serving.answers.delivery.http_receiver import http_receiver
from tests.serving.answers.delivery.messages import ALERT, Clock, put, row, send, settings_of

ROOT = Path(__file__).parents[4]
TO = ["ada@example.org", "Max Meier <max@example.org>"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(f"sqlite:///{tmp_path}/answers.db")
    yield opened
    opened.dispose()


@pytest.mark.parametrize("form", ["json", "slack", "teams", "mattermost"])
def test_a_webhook_gets_the_form_that_it_reads(engine: Engine, clock: Clock, form: str) -> None:
    put(engine, "team", "a")
    with http_receiver() as team:
        channel = {"kind": "webhook", "form": form, "url": team.url}
        assert send(engine, settings_of(channels={"team": channel}), clock).sent == {"team": 1}
    [request] = team.received
    assert request.headers["Content-Type"] == "application/json"
    assert request.key == message_id("a")
    if form == "json":
        assert request.json == {"id": message_id("a"), **ALERT}
    else:
        assert "Ada Ng" in request.body.decode()
        assert {"slack": "blocks", "teams": "attachments", "mattermost": "text"}[form] in (
            request.json
        )


def test_what_is_no_alert_is_given_up(engine: Engine, clock: Clock) -> None:
    put(engine, "team", "a", rows="none")
    channel = {"kind": "webhook", "url": "http://127.0.0.1:9"}
    [failure] = send(engine, settings_of(channels={"team": channel}), clock).given_up
    assert failure.error == "the message is not an alert"


def by_mail(port: int, **more: Any) -> Any:
    mail = {
        "kind": "smtp", "host": "localhost", "port": port, "tls": "none",
        "sender": "Mastery <mastery@example.org>", "to": TO,
    }  # fmt: skip
    return settings_of(channels={"team": {**mail, **more}})


def part(mail: Message, kind: str) -> str:
    [found] = [each for each in mail.walk() if each.get_content_type() == kind]
    content = found.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def test_a_mail_is_text_and_html_and_its_id_is_made_from_the_key(
    engine: Engine, clock: Clock
) -> None:
    put(engine, "team", "a", subject="低 mastery\nBcc: all@example.org", rows=[
        {**ALERT["rows"][0], "learner": "<b>Ada</b>\x1b[2J"}
    ])  # fmt: skip
    with mail_server() as box:
        assert send(engine, by_mail(box.port), clock).sent == {"team": 1}
    [mail] = box.mails
    assert mail["Message-ID"] == f"<{message_id('a')}@example.org>"
    assert (mail["To"], mail["Bcc"]) == ("ada@example.org, Max Meier <max@example.org>", None)
    assert box.recipients == [["ada@example.org", "max@example.org"]]
    assert mail["Auto-Submitted"] == "auto-generated"

    text, html = part(mail, "text/plain"), part(mail, "text/html")
    assert text.splitlines() == [
        "New since yesterday:",
        "",
        "<b>Ada</b>\\u001b[2J · Fractions",
        "very likely not mastered, 91%, since Mar 1, 2026",
        "no visit for 9 days; 2 of 9 answers were right",
        ALERT["rows"][0]["link"],
    ]
    assert "&lt;b&gt;Ada&lt;/b&gt;" in html
    assert f'<a href="{ALERT["rows"][0]["link"]}"' in html


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_mail_by_tls_and_login(
    engine: Engine, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    certificate = make_certificate(tmp_path)
    put(engine, "team", "a", "b")
    login = {"tls": tls, "user": "mastery", "password_env": "WORD"}
    with mail_server(certificate, ("mastery", "s3cret"), encrypted=tls == "tls") as box:
        channels = by_mail(box.port, **login)
        monkeypatch.setenv("WORD", "s3cret")
        [failure] = send(engine, channels, clock).failures
        assert "certificate cannot be trusted" in failure.error
        assert failure.until is not None

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        clock.forward(30)
        assert send(engine, channels, clock).sent == {"team": 2}

        put(engine, "team", "c")
        monkeypatch.setenv("WORD", "another")
        clock.forward(30)
        [failure] = send(engine, channels, clock).given_up
        assert failure.error == "the server refused it (SMTPAuthenticationError, 535)"
    assert len(box.mails) == 2


def test_an_address_that_is_refused_for_now_gets_the_mail_later_and_the_others_once(
    engine: Engine, clock: Clock
) -> None:
    put(engine, "team", "a")
    with mail_server() as box:
        box.refuses = {"max@example.org": "450 try again later"}
        [failure] = send(engine, by_mail(box.port), clock).failures
        assert failure.error == "the server refused 1 of 2 addresses"
        assert failure.until is not None
        box.refuses = {}
        clock.forward(30)
        assert send(engine, by_mail(box.port), clock).sent == {"team": 1}
    assert box.recipients == [["ada@example.org"], ["max@example.org"]]
    assert len({mail["Message-ID"] for mail in box.mails}) == 1


def test_an_address_that_is_refused_for_good_is_said(engine: Engine, clock: Clock) -> None:
    put(engine, "team", "a", "b")
    with mail_server() as box:
        box.refuses = {"max@example.org": "550 no such user"}
        report = send(engine, by_mail(box.port), clock)
        assert [failure.error for failure in report.given_up] == [
            "the server refused 1 of 2 addresses"
        ] * 2
        box.refuses = dict.fromkeys(("ada@example.org", "max@example.org"), "550 no")
        put(engine, "team", "c")
        [failure] = send(engine, by_mail(box.port), clock).given_up
        assert failure.error == "the server refused 2 of 2 addresses"
    assert box.recipients == [["ada@example.org"]] * 2


def test_a_sender_killed_after_a_mail_repeats_it_with_its_id(
    engine: Engine, clock: Clock, tmp_path: Path
) -> None:
    put(engine, "team", "a")
    with mail_server() as box:
        process = subprocess.run(
            [sys.executable, "-c", _KILLED_AFTER_SEND, f"{tmp_path}/answers.db", str(box.port)],
            cwd=ROOT, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert process.returncode == -signal.SIGKILL, process.stderr
        clock.forward(600)
        assert send(engine, by_mail(box.port), clock).sent == {"team": 1}
    assert [mail["Message-ID"] for mail in box.mails] == [f"<{message_id('a')}@example.org>"] * 2


_KILLED_AFTER_SEND = """
import os, signal, sys
from serving.answers.database import open_database
from serving.answers.delivery import outbox
from tests.serving.answers.delivery.messages import Clock, send
from tests.serving.answers.delivery.test_channels import by_mail

outbox.mark_sent = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
send(open_database(sys.argv[1]), by_mail(int(sys.argv[2])), Clock())
"""


def test_a_file_gets_a_line_per_alert(engine: Engine, clock: Clock, tmp_path: Path) -> None:
    put(engine, "log", "a", "b")
    channel = {"kind": "file", "path": str(tmp_path / "alerts.jsonl")}
    assert send(engine, settings_of(channels={"log": channel}), clock).sent == {"log": 2}
    lines = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["id"] for one in found] == [message_id("a"), message_id("b")]
    assert {key: found[0][key] for key in ALERT} == ALERT
    assert not (tmp_path / ".alerts.jsonl.undo").exists()


def test_a_mailbox_is_read_by_mail_programs(engine: Engine, clock: Clock, tmp_path: Path) -> None:
    put(engine, "box", "a", text="From now on:\nFrom yesterday:", language="de")
    put(engine, "box", "b")
    channel = {"kind": "file", "form": "mbox", "path": str(tmp_path / "box.mbox")}
    assert send(engine, settings_of(channels={"box": channel}), clock).sent == {"box": 2}
    box = mailbox.mbox(tmp_path / "box.mbox", create=False)
    mails = list(box)
    box.close()
    first, second = mails
    assert ">From yesterday:" in part(first, "text/plain")
    assert first["Subject"] == ALERT["subject"]
    assert [mail["Message-ID"] for mail in (first, second)] == [
        f"<{message_id(key)}@localhost>" for key in "ab"
    ]
    assert "sehr wahrscheinlich nicht beherrscht, 91\u00a0%, seit 01.03.2026" in part(
        first, "text/plain"
    )


def test_a_folder_that_is_missing_lets_alerts_wait(
    engine: Engine, clock: Clock, tmp_path: Path
) -> None:
    put(engine, "log", "a")
    channel = {"kind": "file", "path": str(tmp_path / "none" / "alerts.jsonl")}
    [failure] = send(engine, settings_of(channels={"log": channel}), clock).failures
    assert failure.error == "the file could not be written (No such file or directory)"
    (tmp_path / "none").mkdir()
    clock.forward(30)
    assert send(engine, settings_of(channels={"log": channel}), clock).sent == {"log": 1}
    assert row(engine, "a").sent_at is not None


_KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from serving.answers.delivery.channels import append_whole

def write_half(descriptor, content, write=os.write):
    write(descriptor, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

os.write = write_half
append_whole(Path(sys.argv[1]), b"a second line\\n")
"""


def test_a_writer_killed_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    append_whole(path, b"first\n")
    process = subprocess.run(
        [sys.executable, "-c", _KILLED_WHILE_WRITING, path], cwd=ROOT, check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"first\na secon"
    append_whole(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"
    assert [file.name for file in tmp_path.iterdir()] == ["alerts.jsonl"]


def test_what_others_appended_after_a_crash_stays(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b"first\nsecond\nof another program\n")
    (tmp_path / ".alerts.jsonl.undo").write_text("6 13")
    append_whole(path, b"third\n")
    assert path.read_bytes() == b"first\nsecond\nof another program\nthird\n"


def test_writers_at_the_same_time_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    lines = [bytes([65 + number]) * 20_000 + b"\n" for number in range(8)]
    threads = [threading.Thread(target=append_whole, args=(path, line)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_bytes().splitlines(keepends=True)) == lines


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alerts.jsonl"
    append_whole(path, b"first\n")
    write = os.write

    def fill_up(descriptor: int, content: bytes) -> int:
        if len(content) < 8:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:8])

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(OSError, match="No space left"):
        append_whole(path, b"a second line\n")
    assert path.read_bytes() == b"first\n"
