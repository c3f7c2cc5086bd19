"""The library h2 as this server uses it: its settings, goodbyes, and a limit on idle frames."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import Event
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

if TYPE_CHECKING:
    from h2._typing import Buffer

WINDOW = 2**20  # bytes that a client may send ahead of the server
METADATA_BYTES = 16 * 2**10
MAX_INCOMPLETE = 2 * METADATA_BYTES + 1024  # bytes: headers, the frames around them, and one frame
# Frames that ask for nothing, such as pings and resets, within a second and beyond `USEFUL` for
# each answered call. Parsing as many takes 20 ms.
MAX_FRAMES = 1000
USEFUL = 10
RESET = 5  # frames that count for a call that is cancelled
SMALL_FRAME = 256  # bytes: smaller frames of data count
MAX_SETTINGS = 100  # of a client; h2 keeps unknown ones too, and 60,000 would take 56 MB
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


class CountedFrames(FrameBuffer):
    """The bytes that have arrived, parsed into frames.

    Attributes:
        count: frames so far; h2 reports no event for many that come after the end of their call.
    """

    def __init__(self) -> None:
        super().__init__(server=True)
        self.count = 0

    def __next__(self) -> Frame:
        """Returns the next frame."""
        frame = super().__next__()
        self.count += 1
        return frame

    @property
    def incomplete_bytes(self) -> int:
        """The bytes of a frame, and of headers, whose end has not arrived."""
        return len(self._data) + sum(len(frame.data) for frame in self._headers_buffer)


class ServerConnection(H2Connection):
    """The server's side of a connection, with limits where h2 has none, or wide ones.

    Attributes:
        ignored: frames of the last `receive_data` without an event, beyond those of large data.
    """

    MAX_CLOSED_STREAMS = 1000  # that h2 remembers; 65,536 would take 14 MB

    def __init__(self, max_streams: int) -> None:
        """Begins a connection, with its greeting to be sent.

        Args:
            max_streams: concurrent calls of the client.
        """
        super().__init__(_CONFIG)
        self.state_machine = OpenStates()
        self.incoming_buffer = self._frames = CountedFrames()
        self.ignored = 0
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: METADATA_BYTES,
            },
        )
        self.decoder.max_header_list_size = METADATA_BYTES
        self.initiate_connection()
        self.increment_flow_control_window(WINDOW - self.inbound_flow_control_window)

    def receive_data(self, data: Buffer) -> list[Event]:
        """Parses bytes, and returns what they mean."""
        before = self._frames.count
        events = super().receive_data(data)
        frames = self._frames.count - before
        self.ignored = max(0, frames - len(events) - memoryview(data).nbytes // SMALL_FRAME)
        return events

    def is_overfull(self) -> bool:
        """Returns whether the client makes the server keep too many settings or bytes.

        h2 looks at the size of a frame, up to 16 MiB, and of headers only once they are complete.
        """
        has_many_settings = len(self.remote_settings) > MAX_SETTINGS
        return has_many_settings or self._frames.incomplete_bytes > MAX_INCOMPLETE


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
