"""The table of connections and the budget of bytes: which connections give way."""

from __future__ import annotations

import asyncio
import errno
import resource

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from serving.server.bounds import SMALL_BODY, ByteBudget
from serving.server.connections import (
    Connections,
    Phase,
    Quiet,
    client_of,
    possible_connections,
    raise_descriptor_limit,
)
from serving.server.request_error import RequestError

MOST, MOST_PER_ADDRESS = 5, 2


class Line:
    """A connection that remembers how it was ended."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ended: list[Phase | None] = []

    def end(self, phase: Phase | None) -> None:
        self.ended.append(phase)


moves = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["add", "remove", "busy", *Phase])),
    min_size=1,
    max_size=60,
)


@given(moves)
def test_whatever_happens_the_bounds_hold_and_the_busy_stay(
    steps: list[tuple[int, str | Phase]],
) -> None:
    table = Connections(MOST, MOST_PER_ADDRESS, {})
    lines = [Line(f"10.0.0.{number % 3}") for number in range(10)]
    inside: set[Line] = set()
    busy: set[Line] = set()
    for number, move in steps:
        line = lines[number]
        if move == "add" and line not in inside:
            line.ended = []
            has_place = table.add(line)
            inside = {other for other in inside if not other.ended}
            if has_place:
                inside.add(line)
        elif move == "remove":
            table.remove(line)
            inside.discard(line)
        elif move == "busy":
            table.busy(line)
        elif isinstance(move, Phase):
            assert table.wait(line, move) is (line in inside)
        busy = (busy | {line} if move == "busy" else busy - {line}) & inside
        assert all(not other.ended for other in busy)
        assert len(table) == len(inside) <= MOST
        for address in {other.address for other in inside}:
            assert sum(other.address == address for other in inside) <= MOST_PER_ADDRESS


def test_the_connection_idle_for_longest_gives_way() -> None:
    table = Connections(3, 3, {})
    answered, first, second, new, newer = (Line("a") for _ in range(5))
    for line in (answered, first, second):
        assert table.add(line)
    table.wait(answered, Phase.IDLE)
    assert table.add(new)
    assert table.add(newer)
    assert [line.ended for line in (answered, first, second)] == [[], [None], [None]]


def test_the_slowest_sender_gives_way_instead_of_the_newest() -> None:
    table = Connections(3, 3, {})
    answered, body, head = (Line("a") for _ in range(3))
    for line, phase in ((answered, Phase.IDLE), (body, Phase.BODY), (head, Phase.HEAD)):
        table.add(line)
        table.wait(line, phase)
    table.add(Line("a"))
    assert [line.ended for line in (answered, body, head)] == [[], [None], []]


def test_a_new_connection_is_refused_while_all_are_busy() -> None:
    table = Connections(2, 2, {})
    for line in (Line("a"), Line("b")):
        table.add(line)
        table.busy(line)
    assert not table.add(Line("c"))


def test_late_connections_are_ended_once() -> None:
    table = Connections(9, 9, {Phase.HEAD: 0.0})
    late, idle = Line("a"), Line("a")
    table.add(late)
    table.add(idle)
    table.wait(idle, Phase.IDLE)
    table.end_late()
    table.end_late()
    assert (late.ended, idle.ended) == ([Phase.HEAD], [])


LARGE = 10 * SMALL_BODY


async def arrive(budget: ByteBudget, size: int, until: asyncio.Event) -> None:
    with budget.share() as share:
        async with share.arriving(5.0):
            share.resize(size)
            await until.wait()


def test_a_body_that_is_arriving_gives_way_to_one_that_comes_later() -> None:
    async def main() -> None:
        budget, never = ByteBudget(3 * LARGE), asyncio.Event()
        slow = [asyncio.create_task(arrive(budget, LARGE, never)) for _ in range(3)]
        await asyncio.sleep(0)
        small = asyncio.create_task(arrive(budget, SMALL_BODY, never))
        await asyncio.sleep(0)
        with budget.share() as share:
            share.resize(LARGE)
            with pytest.raises(RequestError, match="take all of") as caught:
                await slow[0]
            assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
            assert not slow[1].done()
            assert not small.done()
            assert budget.used == 3 * LARGE
        never.set()
        await asyncio.gather(*slow[1:], small)
        assert budget.used == 0

    asyncio.run(main())


def test_bodies_that_have_arrived_do_not_give_way() -> None:
    budget = ByteBudget(2 * LARGE)
    with budget.share() as first, budget.share() as second, budget.share() as small:
        first.resize(LARGE)
        second.resize(LARGE)
        small.resize(SMALL_BODY)
        with budget.share() as third, pytest.raises(RequestError, match="try again later"):
            third.resize(LARGE)
    assert budget.used == 0


def test_a_body_that_takes_too_long() -> None:
    async def main() -> None:
        with ByteBudget(1).share() as share:
            async with share.arriving(0.01):
                await asyncio.sleep(5)

    with pytest.raises(RequestError, match=r"within 0\.01 s") as caught:
        asyncio.run(main())
    assert caught.value.http_status == 408


def test_all_connections_or_the_oldest_can_be_ended() -> None:
    table = Connections(MOST, MOST_PER_ADDRESS, {})
    first, second = Line("10.0.0.1"), Line("10.0.0.2")
    assert table.add(first)
    assert table.add(second)
    assert not table.end_oldest(Phase.ANSWER)
    assert table.end_oldest(Phase.HEAD)
    assert (first.ended, second.ended) == ([None], [])
    table.end_all()
    assert second.ended == [None]
    assert len(table) == 0


def test_descriptors_that_have_run_out_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    quiet, passed_on = Quiet(), []

    class Loop:
        def default_exception_handler(self, context: object) -> None:
            passed_on.append(context)

    for _ in range(3):
        quiet.loop_error(Loop(), {"exception": OSError(errno.EMFILE, "Too many open files")})
    other = {"exception": ValueError("another")}
    quiet.loop_error(Loop(), other)
    assert caplog.messages == [
        "File descriptors have run out (Too many open files); new connections wait."
    ]
    assert passed_on == [other]


def test_limits_on_open_files(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not permitted")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 2000))
    raise_descriptor_limit()
    assert possible_connections(600) == 600
    assert possible_connections(601) == 600
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, -1))
    assert possible_connections(10**9) == 10**9
    assert caplog.messages == [
        "The limit on open files could not be raised to 2000: not permitted.",
        "This process may open 1000 files, too few for 601 connections: raise `ulimit -n`.",
    ]


def test_clients_of_a_socket_without_addresses_count_as_one() -> None:
    assert client_of(None) == client_of("") == ""
