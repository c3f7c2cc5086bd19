"""Sends what is due: every channel on its own, each message at least once and until it arrives.

A receiver that fails holds up only its own messages. Between attempts the waits grow; a receiver
that is busy, or cannot be reached, rests as a whole, so that it is not asked once per message.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from components.sending import UndeliveredError
from serving.answers.delivery import outbox

if TYPE_CHECKING:
    from serving.answers.delivery.outbox import Claim
    from serving.answers.delivery_settings import Delivery

_AT_ONCE = 8  # channels that are worked on at the same time
_FAILURES_IN_A_ROW = 5  # then the receiver rests, whatever it answers


class Receiver(Protocol):
    """Takes the messages of one channel.

    Attributes:
        in_order: whether a message must not overtake an earlier one.
        lease: longer than sending one message can take.
    """

    in_order: bool
    lease: timedelta

    def send(self, claimed: Claim) -> None:
        """Sends a message; says in `claimed.left` what is left if only a part was sent.

        Raises:
            UndeliveredError: the receiver did not take it, or not all of it.
        """
        ...


@dataclass(frozen=True)
class Failure:
    """An attempt that failed.

    Attributes:
        until: when the next one is made; None if the message is given up.
    """

    channel: str
    key: str
    attempts: int
    error: str
    until: datetime | None


@dataclass
class Report:
    """What one call sent, and what it did not.

    Attributes:
        sent: how many messages, by channel.
        failures: in the order in which they happened, per channel.
        unknown: channels with due messages that the settings do not have.
    """

    sent: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def given_up(self) -> list[Failure]:
        """The failures after which no further attempt is made."""
        return [failure for failure in self.failures if failure.until is None]


def utc_now() -> datetime:
    """Returns the moment."""
    return datetime.now(UTC)


def send_due(
    engine: Engine,
    receivers: Mapping[str, Receiver],
    settings: Delivery,
    *,
    clock: Callable[[], datetime] = utc_now,
    stop: threading.Event | None = None,
) -> Report:
    """Sends every message that is due, and marks it. Several processes may do so at once.

    Args:
        engine: the answers' database.
        receivers: by the name of their channel; see `serving.answers.delivery.channels`.
        settings: how often a message is tried, and how long it waits.
        clock: tells the time; claims and waits count from it.
        stop: once it is set, no further message is begun.
    """
    stop = stop or threading.Event()
    due = outbox.due_channels(engine, clock())
    report = Report(unknown=[name for name in due if name not in receivers])

    rounds = [
        _Round(engine, name, receivers[name], settings, clock, stop, report)
        for name in due
        if name in receivers
    ]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for future in [pool.submit(one.run) for one in rounds]:
            future.result()
    return report


def send_until_stopped(
    engine: Engine,
    receivers: Mapping[str, Receiver],
    settings: Delivery,
    *,
    every: float,
    tell: Callable[[Report | DBAPIError], None],
) -> None:
    """Sends what becomes due until SIGTERM or Ctrl-C; then ends after the messages in hand.

    Args:
        engine: the answers' database; while it cannot be reached, messages wait.
        receivers: by the name of their channel.
        settings: how often a message is tried, and how long it waits.
        every: seconds between two looks.
        tell: gets what happened in each look.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        try:
            tell(send_due(engine, receivers, settings, stop=stop))
        except DBAPIError as error:
            tell(error)
        stop.wait(every)


@dataclass
class _Round:
    """One channel's messages that are due, in one call of `send_due`."""

    engine: Engine
    channel: str
    receiver: Receiver
    settings: Delivery
    clock: Callable[[], datetime]
    stop: threading.Event
    report: Report  # shared: every round writes below its own channel's name only

    def run(self) -> None:
        failures = 0
        while failures < _FAILURES_IN_A_ROW and not self.stop.is_set():
            claimed = outbox.claim(
                self.engine,
                self.channel,
                self.clock(),
                self.receiver.lease,
                in_order=self.receiver.in_order,
            )
            if claimed is None:
                return

            error = self._send(claimed)
            if error is None:
                outbox.mark_sent(self.engine, claimed, self.clock())
                self.report.sent[self.channel] = self.report.sent.get(self.channel, 0) + 1
                failures = 0
                continue

            failures = failures + 1 if error.temporary else 0
            until = self._mark_failed(claimed, error)
            if error.busy or failures == _FAILURES_IN_A_ROW:
                outbox.rest(self.engine, self.channel, until)
                return

    def _send(self, claimed: Claim) -> UndeliveredError | None:
        try:
            self.receiver.send(claimed)
        except UndeliveredError as error:
            return error
        except Exception as error:  # its text may hold a secret, and other messages must not wait
            return UndeliveredError(f"an unexpected {type(error).__name__}", temporary=True)
        return None

    def _mark_failed(self, claimed: Claim, error: UndeliveredError) -> datetime:
        """Lets a message wait, or gives it up; returns when its receiver may be tried again."""
        now = self.clock()
        until = now + self._wait(claimed.attempts, error)
        is_last = claimed.attempts >= self.settings.attempts
        text = str(error)
        if is_last and error.temporary:
            text = f"{text}; {claimed.attempts} attempts"

        given_up = is_last or not error.temporary
        if given_up:
            outbox.mark_given_up(self.engine, claimed, now, text)
        else:
            outbox.mark_waiting(self.engine, claimed, until, text)
        self.report.failures.append(
            Failure(self.channel, claimed.key, claimed.attempts, text, None if given_up else until)
        )
        return until

    def _wait(self, attempts: int, error: UndeliveredError) -> timedelta:
        """Returns how long to wait after so many attempts: twice as long each time."""
        first, longest = self.settings.first_wait_seconds, self.settings.longest_wait_seconds
        seconds = min(first * 2.0 ** (attempts - 1), longest)
        return timedelta(seconds=max(seconds, error.retry_after or 0.0))
