"""The outbox: keys, claims by several senders, order, and leases that end."""

from __future__ import annotations

import doctest
import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, text, update
from sqlalchemy.orm import Session

from serving.answers.delivery import outbox
from serving.answers.delivery.outbox import claim, enqueue
from serving.answers.tables import Message
from tests.serving.answers.delivery.messages import ALERT, Clock, put, row

LEASE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_examples_hold() -> None:
    assert doctest.testmod(outbox).failed == 0


def test_a_second_message_of_a_key_is_not_written_also_after_the_first_was_sent(
    database: Engine, clock: Clock
) -> None:
    with Session(database) as session, session.begin():
        assert enqueue(session, "a", "team", ALERT, ["learner-0001"])
        assert not enqueue(session, "a", "others", ALERT, [])
    claimed = claim(database, "team", clock.now, LEASE, in_order=False)
    assert claimed is not None
    outbox.mark_sent(database, claimed, clock.now)
    with Session(database) as session, session.begin():
        assert not enqueue(session, "a", "team", ALERT, ["learner-0001"])
    assert outbox.due_channels(database, clock.now) == []


def test_a_message_is_committed_with_what_it_reports_or_not_at_all(
    database: Engine, clock: Clock
) -> None:
    with Session(database) as session:
        assert enqueue(session, "a", "team", ALERT, [])
        session.rollback()
    assert outbox.due_channels(database, clock.now) == []
    with Session(database) as session, session.begin():
        assert enqueue(session, "a", "team", ALERT, [])


def test_what_was_sent_says_nothing_about_learners_any_more(database: Engine, clock: Clock) -> None:
    put(database, "team", "a")
    assert row(database, "a").learner_ids == ["learner-0001"]
    claimed = claim(database, "team", clock.now, LEASE, in_order=False)
    assert claimed is not None
    assert claimed.payload == ALERT
    outbox.mark_sent(database, claimed, clock.now)
    kept = row(database, "a")
    assert (kept.payload, kept.learner_ids, kept.sent_at) == ({}, [], clock.now)


def test_quiet_hours_end(database: Engine, clock: Clock) -> None:
    with Session(database) as session, session.begin():
        enqueue(session, "a", "team", ALERT, [], not_before=clock.now + timedelta(hours=8))
    assert claim(database, "team", clock.now, LEASE, in_order=False) is None
    clock.forward(8 * 3600)
    assert outbox.due_channels(database, clock.now) == ["team"]
    assert claim(database, "team", clock.now, LEASE, in_order=False) is not None


def test_a_claimed_message_is_nobody_elses_until_the_lease_ends(
    database: Engine, clock: Clock
) -> None:
    put(database, "team", "a", "b")
    first, second, third = (
        claim(database, "team", clock.now, LEASE, in_order=False) for _ in range(3)
    )
    assert first is not None
    assert second is not None
    assert (first.key, second.key, third) == ("a", "b", None)

    clock.forward(61)
    again = claim(database, "team", clock.now, LEASE, in_order=False)
    assert again is not None
    assert (again.key, again.attempts) == ("a", 2)

    # The first sender was slow, not dead; what it says comes too late.
    outbox.mark_given_up(database, first, clock.now, "refused")
    outbox.mark_waiting(database, first, clock.now, "no answer")
    assert (row(database, "a").given_up_at, row(database, "a").error) == (None, None)
    outbox.mark_sent(database, again, clock.now)
    assert row(database, "a").sent_at == clock.now


def test_in_order_nothing_overtakes_a_message_that_is_claimed_or_waits(
    database: Engine, clock: Clock
) -> None:
    put(database, "team", "a", "b")
    first = claim(database, "team", clock.now, LEASE, in_order=True)
    assert first is not None
    assert claim(database, "team", clock.now, LEASE, in_order=True) is None
    outbox.mark_waiting(database, first, clock.now + timedelta(seconds=30), "no answer")
    assert claim(database, "team", clock.now, LEASE, in_order=True) is None

    clock.forward(30)
    again = claim(database, "team", clock.now, LEASE, in_order=True)
    assert again is not None
    assert (again.key, again.attempts) == ("a", 2)
    outbox.mark_given_up(database, again, clock.now, "refused")
    then = claim(database, "team", clock.now, LEASE, in_order=True)
    assert then is not None
    assert then.key == "b"


def test_what_is_left_is_kept_but_not_of_a_learner_who_was_erased_meanwhile(
    database: Engine, clock: Clock
) -> None:
    put(database, "team", "a", "b")
    until = clock.now + timedelta(seconds=30)
    for key in "ab":
        claimed = claim(database, "team", clock.now, LEASE, in_order=False)
        assert claimed is not None
        claimed.left = {**ALERT, "accepted": ["ada@example.org"]}
        if key == "b":
            with database.begin() as connection:
                erased = {"payload": {**ALERT, "rows": []}, "learner_ids": []}
                connection.execute(update(Message).where(Message.key == key).values(**erased))
        outbox.mark_waiting(database, claimed, until, "no answer")
    assert row(database, "a").payload == {**ALERT, "accepted": ["ada@example.org"]}
    assert row(database, "b").payload == {**ALERT, "rows": []}
    assert [row(database, key).error for key in "ab"] == ["no answer"] * 2


@pytest.mark.parametrize("in_order", [False, True])
def test_senders_that_claim_at_the_same_time_share_no_message(
    database: Engine, clock: Clock, in_order: bool
) -> None:
    keys = [f"{number:02}" for number in range(24)]
    put(database, "team", *keys)
    taken: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        while len(taken) < len(keys):
            claimed = claim(database, "team", clock.now, LEASE, in_order=in_order)
            if claimed is not None:
                taken.append(claimed.key)
                outbox.mark_sent(database, claimed, clock.now)
            elif not in_order:
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == keys
    if in_order:
        assert taken == keys


def test_a_channel_rests_and_the_others_do_not(database: Engine, clock: Clock) -> None:
    put(database, "team", "a", "b")
    put(database, "others", "c")
    until = clock.now + timedelta(minutes=5)
    outbox.rest(database, "team", until)
    assert outbox.due_channels(database, clock.now) == ["others"]
    assert outbox.due_channels(database, until) == ["others", "team"]
    assert row(database, "b").attempts == 0


def test_messages_that_were_given_up_are_listed_first_and_can_be_tried_again(
    database: Engine, clock: Clock
) -> None:
    put(database, "team", "a", "b", "c")
    put(database, "others", "d")
    for reason in ("refused", "gone"):
        claimed = claim(database, "team", clock.now, LEASE, in_order=False)
        assert claimed is not None
        outbox.mark_given_up(database, claimed, clock.now, reason)

    assert outbox.count_unsent(database) == {"others": (1, 0), "team": (1, 2)}
    found = outbox.list_unsent(database, 3)
    assert [(message.key, message.error) for message in found] == [
        ("a", "refused"), ("b", "gone"), ("c", None),
    ]  # fmt: skip
    assert [message.not_before is None for message in found] == [True, True, False]
    assert [message.key for message in outbox.list_unsent(database, 3, "others")] == ["d"]

    assert outbox.retry(database, clock.now, key="b") == 1
    assert outbox.retry(database, clock.now, channel="others") == 0
    assert outbox.retry(database, clock.now) == 1
    assert outbox.count_unsent(database) == {"others": (1, 0), "team": (3, 0)}
    assert row(database, "b").attempts == 0


def test_a_claim_is_one_statement_and_finds_its_message_by_an_index(
    database: Engine, clock: Clock
) -> None:
    put(database, "team", "a", "b")
    said: list[tuple[str, object]] = []
    event.listen(
        database, "before_cursor_execute",
        lambda _connection, _cursor, statement, values, *_: said.append((statement, values)),
    )  # fmt: skip
    assert claim(database, "team", clock.now, LEASE, in_order=True) is not None
    [(statement, values)] = said
    explain = "EXPLAIN QUERY PLAN " if database.dialect.name == "sqlite" else "EXPLAIN "
    with database.begin() as connection:
        if database.dialect.name == "postgresql":  # too few rows to make an index worth it
            connection.execute(text("SET enable_seqscan = off"))
        plan = connection.exec_driver_sql(explain + statement, values).all()  # type: ignore[arg-type]
    assert "ix_outbox_waiting" in str(plan)
