"""Sending what is due to real servers: good ones, and ones that fail in each way."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from components.sending import UndeliveredError
from serving.answers.database import open_database
from serving.answers.delivery.outbox import Claim, message_id
from serving.answers.delivery.sender import send_due
from serving.answers.delivery_settings import Delivery
from tests.ports import free_port
from tests.serving.answers.delivery.http_receiver import (
    Answer,
    Request,
    answer,
    hang_up,
    http_receiver,
    in_turn,
)
from tests.serving.answers.delivery.messages import Clock, put, row, send, settings_of, webhooks


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(f"sqlite:///{tmp_path}/answers.db")
    yield opened
    opened.dispose()


def test_what_is_due_arrives_once_with_its_key(database: Engine, clock: Clock) -> None:
    put(database, "team", "a", "b")
    put(database, "others", "规则/2026")
    with http_receiver() as team, http_receiver() as others:
        channels = webhooks(team=team.url, others=others.url)
        report = send(database, channels, clock)
        again = send(database, channels, clock)
    assert (report.sent, report.failures, report.unknown) == ({"team": 2, "others": 1}, [], [])
    assert again.sent == {}
    assert team.keys == [message_id("a"), message_id("b")]
    assert others.keys == [message_id("规则/2026")]


def test_waits_grow_until_the_message_is_given_up(engine: Engine, clock: Clock) -> None:
    put(engine, "team", "a")
    waits = []
    with http_receiver(answer(500)) as team:
        channels = settings_of(
            channels=webhooks(team=team.url).model_dump()["channels"],
            delivery={"attempts": 4, "first_wait_seconds": 30, "longest_wait_seconds": 100},
        )
        for _ in range(3):
            [failure] = send(engine, channels, clock).failures
            assert failure.until is not None
            waits.append((failure.until - clock.now).total_seconds())
            clock.forward(waits[-1] - 1)
            assert send(engine, channels, clock).failures == []
            clock.forward(1)
        last = send(engine, channels, clock)
        clock.forward(10**6)
        assert send(engine, channels, clock).failures == []
    assert waits == [30, 60, 100]
    assert len(team.received) == 4
    [failure] = last.given_up
    assert (failure.attempts, failure.key) == (4, "a")
    assert failure.error == "expected an answer 2xx, found 500 Internal Server Error; 4 attempts"
    assert row(engine, "a").given_up_at is not None


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
def test_a_refusal_is_given_up_at_once_and_the_next_message_is_sent(
    engine: Engine, clock: Clock, status: int
) -> None:
    put(engine, "team", "a", "b")
    with http_receiver(in_turn(answer(status), answer(200))) as team:
        report = send(engine, webhooks(team=team.url), clock)
    [failure] = report.given_up
    assert (failure.key, failure.attempts, failure.until) == ("a", 1, None)
    assert f"found {status}" in failure.error
    assert report.sent == {"team": 1}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_temporary_refusal_is_tried_again(engine: Engine, clock: Clock, status: int) -> None:
    put(engine, "team", "a")
    with http_receiver(in_turn(answer(status), answer(200))) as team:
        first = send(engine, webhooks(team=team.url), clock)
        assert first.failures[0].until == clock.now + timedelta(seconds=30)
        clock.forward(30)
        assert send(engine, webhooks(team=team.url), clock).sent == {"team": 1}
    assert team.keys == [message_id("a")] * 2


@pytest.mark.parametrize("form", ["seconds", "moment"])
def test_a_receiver_that_names_a_time_is_left_alone_until_then(
    engine: Engine, clock: Clock, form: str
) -> None:
    put(engine, "team", "a", "b")
    asked = "600" if form == "seconds" else format_datetime(
        datetime.now(UTC) + timedelta(seconds=601), usegmt=True
    )  # fmt: skip
    with http_receiver(in_turn(answer(429, Retry_After=asked), answer(200))) as team:
        channels = webhooks(team=team.url)
        assert len(send(engine, channels, clock).failures) == 1
        clock.forward(580)
        assert send(engine, channels, clock).sent == {}
        clock.forward(25)
        assert send(engine, channels, clock).sent == {"team": 2}
    assert team.keys == [message_id(key) for key in "aab"]


@pytest.mark.parametrize("failure", ["hangs up", "is slow", "is not there"])
def test_a_receiver_that_does_not_answer_rests_as_a_whole(
    engine: Engine, clock: Clock, failure: str
) -> None:
    put(engine, "team", "a", "b")
    release = threading.Event()

    def wait(_: Request) -> Answer:
        release.wait()
        return None

    with http_receiver(wait if failure == "is slow" else hang_up) as team:
        url = f"http://127.0.0.1:{free_port()}" if failure == "is not there" else team.url
        channels = settings_of(
            channels={"team": {"kind": "webhook", "url": url, "timeout_seconds": 0.2}}
        )
        report = send(engine, channels, clock)
        release.set()
        assert len(team.received) == (0 if failure == "is not there" else 1)
    [failed] = report.failures
    assert failed.error.startswith("the server could not be reached (")
    assert url not in failed.error
    assert row(engine, "b").attempts == 0
    assert row(engine, "b").not_before == failed.until


def test_a_dead_receiver_does_not_hold_up_others(database: Engine, clock: Clock) -> None:
    put(database, "dead", "a")
    put(database, "team", "b", "c", "d")
    arrived = threading.Event()
    waited: list[bool] = []

    def count(request: Request) -> Answer:
        if request.key == message_id("d"):
            arrived.set()
        return 200, {}

    def wait(_: Request) -> Answer:  # answers only after everything else has arrived
        waited.append(arrived.wait(30))
        return 200, {}

    with http_receiver(wait) as dead, http_receiver(count) as team:
        channels = settings_of(channels={
            "dead": {"kind": "webhook", "url": dead.url, "timeout_seconds": 60},
            "team": {"kind": "webhook", "url": team.url, "timeout_seconds": 60},
        })  # fmt: skip
        assert send(database, channels, clock).sent == {"dead": 1, "team": 3}
    assert waited == [True]


def test_a_message_that_breaks_its_receiver_does_not_hold_up_the_next(
    engine: Engine, clock: Clock
) -> None:
    put(engine, "team", "a", "b")

    def break_at_a(request: Request) -> Answer:
        return (500 if request.key == message_id("a") else 200), {}

    with http_receiver(break_at_a) as team:
        report = send(engine, webhooks(team=team.url), clock)
    assert report.sent == {"team": 1}
    assert [failure.key for failure in report.failures] == ["a"]


def test_a_receiver_that_fails_all_the_time_is_not_asked_for_every_message(
    engine: Engine, clock: Clock
) -> None:
    put(engine, "team", *"abcdefgh")
    with http_receiver(answer(500)) as team:
        send(engine, webhooks(team=team.url), clock)
    assert len(team.received) == 5
    assert row(engine, "h").not_before > clock.now


def test_a_channel_that_the_settings_lack_is_said_and_its_messages_stay(
    engine: Engine, clock: Clock
) -> None:
    put(engine, "team", "a")
    assert send(engine, settings_of(), clock).unknown == ["team"]
    with http_receiver() as team:
        assert send(engine, webhooks(team=team.url), clock).sent == {"team": 1}


def test_a_missing_variable_lets_messages_wait(
    engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(engine, "team", "a")
    channels = settings_of(channels={"team": {"kind": "webhook", "url_env": "TEAM_HOOK"}})
    [failure] = send(engine, channels, clock).failures
    assert failure.error == "the environment variable TEAM_HOOK is missing or empty"
    clock.forward(30)
    with http_receiver() as team:
        monkeypatch.setenv("TEAM_HOOK", team.url)
        assert send(engine, channels, clock).sent == {"team": 1}


def test_an_unforeseen_error_is_named_without_its_text(engine: Engine, clock: Clock) -> None:
    class Broken:
        in_order = False
        lease = timedelta(minutes=1)

        def send(self, claimed: Claim) -> None:
            raise RuntimeError(f"s3cret of {claimed.key}")

    put(engine, "team", "a")
    report = send_due(engine, {"team": Broken()}, Delivery(), clock=clock)
    assert [failure.error for failure in report.failures] == ["an unexpected RuntimeError"]


def test_after_stop_no_further_message_is_begun(engine: Engine, clock: Clock) -> None:
    stop = threading.Event()

    class Stopping:
        in_order = False
        lease = timedelta(minutes=1)

        def send(self, _: Claim) -> None:
            stop.set()

    put(engine, "team", "a", "b")
    report = send_due(engine, {"team": Stopping()}, Delivery(), clock=clock, stop=stop)
    assert report.sent == {"team": 1}
    assert row(engine, "b").attempts == 0


_FATES = st.sampled_from(["sent", "again", "again", "busy", "refused"])


class Scripted:
    """A receiver with a list of fates per message; what is over is sent."""

    lease = timedelta(minutes=1)

    def __init__(self, fates: dict[str, list[str]], *, in_order: bool) -> None:
        self.fates = {key: list(of_key) for key, of_key in fates.items()}
        self.in_order = in_order
        self.sent: list[str] = []
        self.tried: dict[str, int] = {}

    def send(self, claimed: Claim) -> None:
        self.tried[claimed.key] = self.tried.get(claimed.key, 0) + 1
        fates = self.fates[claimed.key]
        fate = fates.pop(0) if fates else "sent"
        if fate != "sent":
            raise UndeliveredError(fate, temporary=fate != "refused", busy=fate == "busy")
        self.sent.append(claimed.key)


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for all examples, each of which has a channel of its own."""
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('shared')}/answers.db")
    yield opened
    opened.dispose()


@settings(max_examples=25)
@given(
    fates=st.lists(st.lists(_FATES, max_size=5), min_size=1, max_size=6),
    in_order=st.booleans(),
    steps=st.lists(st.integers(1, 200), min_size=1, max_size=20),
)
def test_whatever_a_receiver_does_every_message_is_sent_once_or_given_up(
    shared_engine: Engine, fates: list[list[str]], in_order: bool, steps: list[int]
) -> None:
    clock = Clock()
    channel = f"team-{uuid.uuid4()}"
    keys = [f"{channel}/{number}" for number in range(len(fates))]
    receiver = Scripted(dict(zip(keys, fates, strict=True)), in_order=in_order)
    policy = Delivery(attempts=3, longest_wait_seconds=100)
    put(shared_engine, channel, *keys)
    for seconds in [*steps, *[200] * 20]:
        send_due(shared_engine, {channel: receiver}, policy, clock=clock)
        clock.forward(seconds)

    gone = {key for key in keys if row(shared_engine, key).given_up_at is not None}
    assert sorted([*receiver.sent, *gone]) == keys
    assert max(receiver.tried.values()) <= 3
    for key, of_key in zip(keys, fates, strict=True):
        before = of_key.index("sent") if "sent" in of_key else len(of_key)
        refused = "refused" in of_key[:before][:3] or before >= 3
        assert (key in gone) == refused
    if in_order:
        assert receiver.sent == sorted(receiver.sent)


def _mastery_send(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "pipeline.cli.main", "answers", "send", "--db",
        f"sqlite:///{folder}/answers.db", "--answers", f"{folder}/answers.yaml", *options,
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_killed_between_send_and_mark_a_message_is_repeated_once_with_its_key(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    put(engine, "team", "a", "b")
    sender: list[subprocess.Popen[str]] = []
    started = threading.Event()

    def kill_then_answer(_: Request) -> Answer:
        started.wait()
        sender[0].kill()
        sender[0].wait()
        return 200, {}

    with http_receiver(kill_then_answer) as team:
        channels = {"team": {"kind": "webhook", "url": team.url}}
        (tmp_path / "answers.yaml").write_text(f"channels: {channels}")
        sender.append(_mastery_send(tmp_path))
        started.set()
        assert sender[0].communicate()[0] == ""
        assert sender[0].returncode == -signal.SIGKILL
        assert team.keys == [message_id("a")]
        assert row(engine, "a").sent_at is None

        team.behave = answer(200)
        clock.now = datetime.now(UTC)
        assert send(engine, webhooks(team=team.url), clock).sent == {"team": 1}  # b
        clock.forward(120)  # the killed sender's lease has ended
        assert send(engine, webhooks(team=team.url), clock).sent == {"team": 1}
        clock.forward(10**6)
        assert send(engine, webhooks(team=team.url), clock).sent == {}
    assert team.keys == [message_id(key) for key in "aba"]


def test_the_command_goes_on_until_it_is_stopped(engine: Engine, tmp_path: Path) -> None:
    put(engine, "team", "a")
    put(engine, "gone", "x")
    with http_receiver() as team:
        channels = {"team": {"kind": "webhook", "url": team.url}}
        (tmp_path / "answers.yaml").write_text(f"channels: {channels}")
        sender = _mastery_send(tmp_path, "--watch", "--every", "1")
        assert sender.stdout is not None
        assert sender.stdout.readline() == "team: 1 sent\n"
        complaint = "gone: the settings have no such channel; its messages wait\n"
        assert sender.stdout.readline() == complaint  # once
        for key in "bc":
            put(engine, "team", key)
            assert sender.stdout.readline() == "team: 1 sent\n"
        sender.send_signal(signal.SIGTERM)
        rest, _ = sender.communicate()
    assert (rest, sender.returncode) == ("", 0)
    assert team.keys == [message_id(key) for key in "abc"]
