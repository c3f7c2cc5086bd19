"""All open connections of both ports: how many there may be, and which of them gives way.

A waiting connection costs the server a file descriptor, and an attacker a packet. So a full table
is no reason to refuse a new client: the connection that has kept the server waiting longest gives
way. A connection whose request is being answered never does.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import resource
import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

log = logging.getLogger("mastery.serving")

SPARE_DESCRIPTORS = 400  # for the model's files, listening sockets, and the backlog once accepted
BACKLOG = 128  # connections that the kernel holds until they are accepted, all at once
QUIET_SECONDS = 60.0  # between two equal lines in the log


class Phase(Enum):
    """What the server waits for on a connection."""

    CLOSING = "the client's end"
    HEAD = "a request's head, or a greeting"
    BODY = "a request's body"
    IDLE = "a further request"
    QUIET = "nothing: a call of gRPC that can last for hours"
    ANSWER = "the client to read its answer"


# Connections give way in this order: refused ones, then those that have not sent a whole request
# yet, and only then those that have been answered before. Within a group, the longest waiting one.
_GIVE_WAY = ((Phase.CLOSING,), (Phase.HEAD, Phase.BODY), (Phase.IDLE, Phase.QUIET, Phase.ANSWER))


class Connection(Protocol):
    """A connection that can be ended.

    Attributes:
        address: of the client, as `client_of` returns it.
    """

    address: str

    def end(self, phase: Phase | None) -> None:
        """Ends the connection.

        Args:
            phase: the phase that has lasted too long; None to make room at once.
        """


class Connections:
    """The open connections; belongs to one event loop.

    >>> table = Connections(most=2, most_per_address=2, seconds={})
    >>> len(table)
    0
    """

    def __init__(
        self,
        most: int,
        most_per_address: int,
        seconds: Mapping[Phase, float],
    ) -> None:
        """Makes an empty table.

        Args:
            most: open connections.
            most_per_address: open connections from one address.
            seconds: longest time in a phase; unlimited where none is given.
        """
        self._most = most
        self._most_per_address = most_per_address
        self._seconds = seconds

        self._phases: dict[Connection, Phase | None] = {}
        self._waiting: dict[Phase, OrderedDict[Connection, float]] = {
            phase: OrderedDict() for phase in Phase
        }
        self._of_address: Counter[str] = Counter()
        self._quiet = Quiet()

    def __len__(self) -> int:
        return len(self._phases)

    def add(self, connection: Connection) -> bool:
        """Adds a new connection in phase HEAD; False if no other can give way to it."""
        address = connection.address
        if self._of_address[address] >= self._most_per_address and not self._make_room(address):
            return False
        if len(self._phases) >= self._most and not self._make_room():
            return False

        self._phases[connection] = None
        self._of_address[address] += 1
        self.wait(connection, Phase.HEAD)
        return True

    def remove(self, connection: Connection) -> None:
        """Removes a connection that has ended; does nothing if it is not in the table."""
        if connection not in self._phases:
            return
        self.busy(connection)
        del self._phases[connection]
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    def wait(self, connection: Connection, phase: Phase, *, anew: bool = False) -> bool:
        """Notes what the server waits for on a connection.

        Args:
            connection: in the table.
            phase: what the server waits for.
            anew: whether a phase that the connection is already in starts again.

        Returns:
            Whether the connection is in the table.
        """
        if connection not in self._phases:
            return False
        if anew or self._phases[connection] is not phase:
            self.busy(connection)
            self._phases[connection] = phase
            self._waiting[phase][connection] = time.monotonic()
        return True

    def busy(self, connection: Connection) -> None:
        """Notes that the server does not wait for the connection: it is the server's turn."""
        phase = self._phases.get(connection)
        if phase is not None:
            del self._waiting[phase][connection]
            self._phases[connection] = None

    def end_late(self) -> None:
        """Ends the connections whose phase has lasted too long; call this every second or so."""
        now = time.monotonic()
        for phase, seconds in self._seconds.items():
            queue = self._waiting[phase]
            while queue and now - next(iter(queue.values())) >= seconds:
                connection = next(iter(queue))
                self.busy(connection)
                connection.end(phase)

    def end_oldest(self, phase: Phase) -> bool:
        """Ends at once the connection that has been in a phase longest; False if there is none."""
        connection = next(iter(self._waiting[phase]), None)
        if connection is None:
            return False
        self.remove(connection)
        connection.end(None)
        return True

    def end_all(self) -> None:
        """Ends all connections at once."""
        for connection in list(self._phases):
            self.remove(connection)
            connection.end(None)

    def _make_room(self, address: str | None = None) -> bool:
        """Ends the longest waiting connection, of an address or of any; False if there is none."""
        self._quiet.warning(
            "%d connections are open, the most allowed: the longest waiting give way to new ones.",
            len(self),
        )

        for group in _GIVE_WAY:
            longest = [found for phase in group if (found := self._longest(phase, address))]
            if not longest:
                continue
            _, _, connection = min(longest)
            self.remove(connection)
            connection.end(None)
            return True
        return False

    def _longest(self, phase: Phase, address: str | None) -> tuple[float, int, Connection] | None:
        """Returns the connection that has been in a phase longest and can give way.

        Returns:
            Since when, a number that breaks ties, and the connection; None if there is none.
        """
        for connection, since in self._waiting[phase].items():
            if address is None or connection.address == address:
                return since, id(connection), connection
        return None


class Quiet:
    """Logs a line at most once a minute, however often its cause occurs."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def warning(self, message: str, *values: object) -> None:
        """Logs a line unless the same one was logged in the last minute."""
        now = time.monotonic()
        if now - self._since.get(message, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._since[message] = now
            log.warning(message, *values)

    def loop_error(self, loop: Any, context: dict[str, Any]) -> None:
        """Handles exceptions of an event loop.

        asyncio's own handler logs again and again that file descriptors have run out.
        """
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            self.warning(
                "File descriptors have run out (%s); new connections wait.", error.strerror
            )
        else:
            loop.default_exception_handler(context)


async def start_tls(
    transport: asyncio.Transport, protocol: asyncio.Protocol, tls: ssl.SSLContext, seconds: float
) -> asyncio.Transport | None:
    """Makes the server's side of a TLS handshake.

    Args:
        transport: of the connection.
        protocol: takes what arrives afterwards.
        tls: the server's certificate and key.
        seconds: for the handshake.

    Returns:
        The transport to use from now on; None if the handshake failed. Then the connection has
        ended.
    """
    try:
        return await asyncio.get_running_loop().start_tls(
            transport,
            protocol,
            tls,
            server_side=True,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=seconds,
        )
    except OSError:  # too slow, not a TLS handshake, or the client has gone
        transport.abort()
        return None


def client_of(address: Any) -> str:
    """Returns the address under which a client is counted: for IPv6, its whole /64 network.

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
    """Raises the soft limit on open files, often 1024, to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("The limit on open files could not be raised to %d: %s.", hard, error)


def possible_connections(wanted: int) -> int:
    """Returns how many connections there may be; warns if these are too few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    possible = max(1, soft - SPARE_DESCRIPTORS)
    if possible < wanted:
        log.warning(
            "This process may open %d files, too few for %d connections: raise `ulimit -n`.",
            soft,
            wanted,
        )
    return min(wanted, possible)
