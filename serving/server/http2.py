"""The library h2 as this server uses it: its settings, goodbyes, and a limit on idle frames."""

from __future__ import annotations

import time

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import Event
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

WINDOW = 2**20  # bytes that a client may send ahead of the server
METADATA_BYTES = 16 * 2**10
# Frames that ask for nothing, such as pings and resets, within a second and beyond `USEFUL` for
# each answered call. Parsing as many takes 20 ms.
MAX_FRAMES = 1000
USEFUL = 10
RESET = 5  # frames that count for a call that is cancelled
ALL_STREAMS = 2**31 - 1

_CONFIG = H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_outbound_headers=False,  # they are this server's own
    normalize_outbound_headers=False,
    normalize_inbound_headers=False,
)


class OpenStates(H2ConnectionStateMachine):
    """The states of a connection whose calls in progress are answered after a goodbye.

    By HTTP/2's rules, a goodbye refuses new calls only. h2 also gives up those in progress, whose
    answers Java's clients expect.
    """

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        """Moves to the next state."""
        return [] if input_ is ConnectionInputs.RECV_GOAWAY else super().process_input(input_)


def greeted_connection(max_streams: int) -> H2Connection:
    """Returns the server's side of a connection, with its greeting to be sent.

    Args:
        max_streams: concurrent calls of the client.
    """
    connection = H2Connection(_CONFIG)
    connection.state_machine = OpenStates()
    connection.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: METADATA_BYTES,
        },
    )
    connection.decoder.max_header_list_size = METADATA_BYTES
    connection.initiate_connection()
    connection.increment_flow_control_window(WINDOW - connection.inbound_flow_control_window)
    return connection


def goodbye() -> bytes:
    """Returns the frame that asks a client to make further calls on another connection.

    h2's own would give up the calls in progress.
    """
    frame = GoAwayFrame(0, last_stream_id=ALL_STREAMS, error_code=ErrorCodes.NO_ERROR)
    return bytes(frame.serialize())


class IdleFrames:
    """Counts the frames of a client that ask for nothing."""

    def __init__(self) -> None:
        self._count = 0
        self._since = time.monotonic()

    def add(self, count: int = 1) -> None:
        """Counts frames."""
        self._count += count

    def excuse(self) -> None:
        """Forgets some: an answer, or a part of one, makes a client send a few."""
        self._count = max(0, self._count - USEFUL)

    def are_too_many(self) -> bool:
        """Returns whether there were more than `MAX_FRAMES` within a second."""
        if self._count <= MAX_FRAMES:
            return False
        now = time.monotonic()
        if now - self._since < 1.0:
            return True
        self._count, self._since = 0, now
        return False
