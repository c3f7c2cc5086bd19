"""Every open connection of both ports: how many there may be, and which of them gives way.

A connection that is waited for costs the server nothing but its descriptor, and an attacker nothing but a packet. So
a full table is no reason to refuse anybody: whoever has kept the server waiting longest gives way to who comes new.
A connection whose request is being answered never does.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import resource
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

log = logging.getLogger("mastery.serving")

SPARE_DESCRIPTORS = (
    400  # for the model's files, the listening sockets, and what is accepted in one go
)
MOST_DESCRIPTORS = 3  # of one connection
BACKLOG = 128  # connections that the kernel holds until they are accepted, and that are accepted in one go
QUIET_SECONDS = 60.0  # between two lines in the log that say the same


class Phase(Enum):
    """What a connection is waited for."""

    CLOSING = "the client's end"
    HEAD = "a request's head, or a greeting"
    BODY = "a request's body"
    IDLE = "a further request"
    QUIET = "a further frame of HTTP/2"
    ANSWER = "the client to read its answer"


# In this order connections give way: those that have been refused, those that have not yet asked anything, and only
# then those that have been answered before. Of a group, the one that has been waited for longest.
_GIVE_WAY = ((Phase.CLOSING,), (Phase.HEAD, Phase.BODY), (Phase.IDLE, Phase.QUIET, Phase.ANSWER))


class Connection(Protocol):
    """A connection that can be ended.

    Attributes:
        address: of the client, as `client_of` has it.
        descriptors: files that it takes.
    """

    address: str
    descriptors: int

    def end(self, phase: Phase | None) -> None:
        """Ends the connection, which was waited for too long in a phase; or, for None, at once to make room."""


class Connections:
    """The open connections; belongs to one event loop.

    >>> table = Connections(most=2, most_per_address=2, most_descriptors=6, seconds={})
    >>> len(table)
    0
    """

    def __init__(
        self,
        most: int,
        most_per_address: int,
        most_descriptors: int,
        seconds: Mapping[Phase, float],
        settled: Mapping[Phase, float] | None = None,
    ) -> None:
        """Makes an empty table.

        Args:
            most: connections at once.
            most_per_address: connections of one client's address at once.
            most_descriptors: files that all of them may take.
            seconds: how long a connection is waited for in a phase, at most; without one, for any time.
            settled: how long a connection must have been in a phase before it can give way; without one, no time.
        """
        self._most, self._most_per_address, self._most_descriptors = (
            most,
            most_per_address,
            most_descriptors,
        )
        self._seconds, self._settled = seconds, settled or {}
        self._phases: dict[Connection, Phase | None] = {}
        self._waiting: dict[Phase, OrderedDict[Connection, float]] = {
            phase: OrderedDict() for phase in Phase
        }
        self._of_address: Counter[str] = Counter()
        self._descriptors = 0
        self._quiet = Quiet()

    def __len__(self) -> int:
        return len(self._phases)

    def add(self, connection: Connection) -> bool:
        """Takes a new connection in, waiting for its first bytes; False where nothing can give way to it."""
        address = connection.address
        if self._of_address[address] >= self._most_per_address and not self._make_room(address):
            return False
        if len(self._phases) >= self._most and not self._make_room():
            return False
        if not self._make_descriptors(connection.descriptors):
            return False

        self._phases[connection] = None
        self._of_address[address] += 1
        self._descriptors += connection.descriptors
        self.wait(connection, Phase.HEAD)
        return True

    def enlarge(self, connection: Connection, descriptors: int) -> bool:
        """Lets a connection take more files; False where no other can give way."""
        self.busy(connection)
        more = descriptors - connection.descriptors
        if connection not in self._phases or not self._make_descriptors(more):
            return False
        connection.descriptors = descriptors
        self._descriptors += more
        return self.wait(connection, Phase.HEAD)

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that has ended; no error if it was not there."""
        if connection not in self._phases:
            return
        self.busy(connection)
        del self._phases[connection]
        self._descriptors -= connection.descriptors
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    def wait(self, connection: Connection, phase: Phase, *, anew: bool = False) -> bool:
        """Says what a connection is waited for; returns False if the connection is not in the table.

        Args:
            connection: in the table.
            phase: what is waited for.
            anew: whether the phase's time starts again where the connection is in the same phase already.
        """
        if connection not in self._phases:
            return False
        if anew or self._phases[connection] is not phase:
            self.busy(connection)
            self._phases[connection] = phase
            self._waiting[phase][connection] = time.monotonic()
        return True

    def busy(self, connection: Connection) -> None:
        """Says that it is the server's turn: the connection is not waited for."""
        phase = self._phases.get(connection)
        if phase is not None:
            del self._waiting[phase][connection]
            self._phases[connection] = None

    def end_late(self) -> None:
        """Ends those that were waited for too long; to be called every second or so."""
        now = time.monotonic()
        for phase, seconds in self._seconds.items():
            queue = self._waiting[phase]
            while queue and now - next(iter(queue.values())) >= seconds:
                connection = next(iter(queue))
                self.busy(connection)
                connection.end(phase)

    def end_oldest(self, phase: Phase) -> bool:
        """Ends at once the connection that has been in a phase for longest; False if there is none."""
        connection = next(iter(self._waiting[phase]), None)
        if connection is None:
            return False
        self.remove(connection)
        connection.end(None)
        return True

    def end_all(self) -> None:
        """Ends all of them at once."""
        for connection in list(self._phases):
            self.remove(connection)
            connection.end(None)

    def _make_descriptors(self, more: int) -> bool:
        while self._descriptors + more > self._most_descriptors:
            if not self._make_room():
                return False
        return True

    def _make_room(self, address: str | None = None) -> bool:
        """Ends the connection, of an address or of any, that has been waited for longest; False if there is none."""
        self._quiet.warning(
            "%d connections are open, as many as may be: those longest waited for give way to new ones.",
            len(self),
        )
        for group in _GIVE_WAY:
            longest = [found for phase in group if (found := self._longest(phase, address))]
            if longest:
                _, _, connection = min(longest)
                self.remove(connection)
                connection.end(None)
                return True
        return False

    def _longest(self, phase: Phase, address: str | None) -> tuple[float, int, Connection] | None:
        """Returns since when, and which, connection has been longest in a phase and can give way."""
        latest = time.monotonic() - self._settled.get(phase, 0.0)
        for connection, since in self._waiting[phase].items():
            if since > latest:
                return None
            if address is None or connection.address == address:
                return since, id(connection), connection
        return None


class Quiet:
    """Logs a line at most once a minute, however often what it tells of happens."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def warning(self, message: str, *values: object) -> None:
        """Logs, unless the same was logged in the last minute."""
        now = time.monotonic()
        if now - self._since.get(message, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._since[message] = now
            log.warning(message, *values)

    def loop_error(self, loop: Any, context: dict[str, Any]) -> None:
        """Is an event loop's exception handler; asyncio's own says for ever that descriptors have run out."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            self.warning(
                "File descriptors have run out (%s); new connections wait.", error.strerror
            )
        else:
            loop.default_exception_handler(context)


def client_of(address: Any) -> str:
    """Returns the address that a client is counted by: of IPv6 the network (/64), of which one client has all.

    >>> client_of(("10.0.0.7", 40000))
    '10.0.0.7'
    >>> client_of(("2001:db8::5", 40000, 0, 0))
    '2001:db8::'
    >>> client_of(("::ffff:10.0.0.7", 40000, 0, 0))
    '10.0.0.7'
    """
    text = str(address[0]) if isinstance(address, tuple) and address else ""
    if ":" not in text:
        return text
    found = ipaddress.IPv6Address(text)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False).network_address)


def raise_descriptor_limit() -> None:
    """Raises the limit of open files from the soft one, often 1024, to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("The limit of open files could not be raised to %d: %s.", hard, error)


def descriptors_possible(connections: int) -> int:
    """Returns how many files connections may take; logs where these are fewer than there are to be connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    possible = max(MOST_DESCRIPTORS, soft - SPARE_DESCRIPTORS)
    if possible < connections:
        log.warning(
            "This process may open %d files, too few for %d connections: raise `ulimit -n`.",
            soft,
            connections,
        )
    return possible
