"""gRPC over HTTP/2, frame by frame: what clients rely on, and what they may not do."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    PingReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, WindowUpdateFrame
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from serving.server import embedded_server
from serving.server.bounds import ByteBudget
from serving.server.connections import Connections, Phase
from serving.server.grpc_call import MAX_REASON, _encoded
from serving.server.grpc_server import GrpcServer
from serving.server.http2 import OpenStates
from serving.server.server_settings import Limits, ServerSettings
from tests.serving.server.running import Running, running
from tests.serving.server.tiny import steps, steps_request

PREDICT = "/tensorflow.serving.PredictionService/Predict"
WATCH = "/grpc.health.v1.Health/Watch"
STEPS = steps_request(steps([2, 1])).SerializeToString()


def packed(message: bytes, *, compressed: bool = False) -> bytes:
    """Returns a message with gRPC's prefix."""
    return struct.pack(">BI", compressed, len(message)) + message


def slow(seconds: float) -> bytes:
    """Returns a request that takes a number of seconds."""
    request = PredictRequest()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "slow"
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto([seconds], tf.float32))
    return request.SerializeToString()


def wide(size: int) -> bytes:
    """Returns a request whose answer has ten times as many bytes."""
    request = PredictRequest()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "wide"
    request.inputs["size"].CopyFrom(tf.make_tensor_proto(size, tf.int32))
    return request.SerializeToString()


class Wire:
    """A client that decides about every frame."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.state_machine = OpenStates()
        self.h2.initiate_connection()
        self.events: list[Event] = []
        self.send()

    def send(self, data: bytes = b"") -> None:
        """Sends what h2 has written, then more bytes."""
        self.socket.sendall(self.h2.data_to_send() + data)

    def begin(self, path: str = PREDICT, **headers: str) -> int:
        """Sends the headers of a call, and returns its stream."""
        stream = self.h2.get_next_available_stream_id()
        fields = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "a",
            "te": "trailers", "content-type": "application/grpc",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }  # fmt: skip
        self.h2.send_headers(stream, list(fields.items()))
        self.send()
        return stream

    def call(self, message: bytes, path: str = PREDICT, **headers: str) -> int:
        """Makes a call with one message."""
        stream = self.begin(path, **headers)
        self.h2.send_data(stream, packed(message), end_stream=True)
        self.send()
        return stream

    def read_until(self, is_last: Callable[[Event], bool], *, acknowledges: bool = True) -> Event:
        """Reads events until one of a kind; raises EOFError if the server closes before."""
        for event in self.read(acknowledges=acknowledges):
            if is_last(event):
                return event
        raise EOFError

    def read(self, *, acknowledges: bool = True) -> Iterator[Event]:
        """Yields events until the server closes."""
        while data := self.socket.recv(65536):
            events = self.h2.receive_data(data)
            self.events += events
            for event in events:
                if isinstance(event, DataReceived) and acknowledges:
                    size = event.flow_controlled_length
                    self.h2.acknowledge_received_data(size, event.stream_id)
            if acknowledges:
                self.send()
            yield from events

    def answer(self, stream: int) -> tuple[int, str, bytes]:
        """Returns the status of a call, its text, and the answer."""
        self.read_until(lambda event: isinstance(event, StreamEnded) and event.stream_id == stream)
        mine = [event for event in self.events if getattr(event, "stream_id", None) == stream]
        headers = {
            name: value
            for event in mine
            if isinstance(event, ResponseReceived | TrailersReceived)
            for name, value in event.headers
        }
        data = b"".join(event.data for event in mine if isinstance(event, DataReceived))
        return int(headers["grpc-status"]), headers.get("grpc-message", ""), data[5:]

    def code(self, stream: int) -> str:
        """Returns the name of a call's status."""
        number = self.answer(stream)[0]
        return next(code.name for code in grpc.StatusCode if code.value[0] == number)


@contextmanager
def wired(server: Running) -> Iterator[Wire]:
    """Yields a client of a server."""
    wire = Wire(server.server.grpc_port)
    with wire.socket:
        yield wire


def test_a_message_may_arrive_byte_by_byte(server: Running) -> None:
    with wired(server) as wire:
        stream = wire.begin()
        for byte in packed(STEPS):
            wire.h2.send_data(stream, bytes([byte]))
        wire.h2.end_stream(stream)
        wire.send()
        status, _, answer = wire.answer(stream)
        assert status == 0
        assert PredictResponse.FromString(answer).model_spec.signature_name == "predict_steps"


def test_a_client_that_does_not_end_its_stream_is_answered(server: Running) -> None:
    with wired(server) as wire:
        stream = wire.begin()
        wire.h2.send_data(stream, packed(STEPS))
        wire.send()
        reset = wire.read_until(lambda event: isinstance(event, StreamReset))
        assert isinstance(reset, StreamReset)
        assert reset.error_code == ErrorCodes.NO_ERROR
        assert any(isinstance(event, StreamEnded) for event in wire.events)
        assert wire.code(wire.call(STEPS)) == "OK", "the connection stays"


def test_calls_in_progress_are_answered_after_the_clients_goodbye(server: Running) -> None:
    """As Java's `ManagedChannel.shutdown` expects."""
    with wired(server) as wire:
        stream = wire.call(slow(0.3))
        wire.send(GoAwayFrame(0, last_stream_id=0, error_code=0).serialize())
        assert wire.code(stream) == "OK"
        with pytest.raises(EOFError):
            wire.read_until(lambda _: False)


@pytest.mark.parametrize(
    ("headers", "message", "code"),
    [
        ({"grpc_timeout": "100m"}, packed(slow(1.0)), "DEADLINE_EXCEEDED"),
        ({"grpc_timeout": "soon"}, packed(STEPS), "INVALID_ARGUMENT"),
        ({"grpc_timeout": "20S"}, packed(STEPS), "OK"),
        ({"grpc_encoding": "deflate"}, packed(zlib.compress(STEPS), compressed=True), "OK"),
        ({"grpc_encoding": "snappy"}, packed(STEPS, compressed=True), "UNIMPLEMENTED"),
        ({"grpc_encoding": "gzip"}, packed(STEPS, compressed=True), "INVALID_ARGUMENT"),
        ({"content_type": "text/plain"}, packed(STEPS), "UNIMPLEMENTED"),
        ({}, packed(STEPS)[:-1], "INVALID_ARGUMENT"),
        ({}, b"\0", "INVALID_ARGUMENT"),
        ({}, struct.pack(">BI", 0, 100_001), "RESOURCE_EXHAUSTED"),
    ],
)
def test_headers_and_messages(
    server: Running, headers: dict[str, str], message: bytes, code: str
) -> None:
    with wired(server) as wire:
        stream = wire.begin(**headers)
        wire.h2.send_data(stream, message, end_stream=True)
        wire.send()
        assert wire.code(stream) == code
        assert wire.code(wire.call(STEPS)) == "OK"


def test_a_status_is_readable_whatever_a_caller_sent(server: Running) -> None:
    with wired(server) as wire:
        _, text, _ = wire.answer(wire.call(STEPS, "/any.Service/Größe%"))
    assert text == "expected a method of this server, found '/any.Service/Gr%C3%B6%C3%9Fe%25'."


def test_an_answer_follows_the_clients_windows(server: Running) -> None:
    with wired(server) as wire:
        status, _, answer = wire.answer(wire.call(wide(300_000)))
        assert status == 0
        text = PredictResponse.FromString(answer).outputs["text"].string_val[0]
        assert text == b"0123456789" * 300_000


def test_a_client_that_opens_no_window_does_not_keep_its_answer(folder: Path) -> None:
    with running(folder, request_timeout=0.5) as server, wired(server) as wire:
        stream = wire.call(wide(20_000))
        ended = wire.read_until(
            lambda event: isinstance(event, StreamEnded | StreamReset), acknowledges=False
        )
        assert ended.stream_id == stream
        received = sum(len(e.data) for e in wire.events if isinstance(e, DataReceived))
        assert received < 200_000
        assert server.predict({"instances": [""]}).status_code == 200


def settings_of_no_meaning() -> bytes:
    """Returns frames with 60,000 settings that HTTP/2 does not define."""
    numbers = [struct.pack(">HI", number, 1) for number in range(100, 60_100)]
    bodies = [b"".join(numbers[start : start + 2000]) for start in range(0, 60_000, 2000)]
    return b"".join(len(body).to_bytes(3) + b"\x04\0\0\0\0\0" + body for body in bodies)


FLOODS = {
    "settings": settings_of_no_meaning(),
    "resets of an ended call": RstStreamFrame(1).serialize() * 5000,
    "windows of an ended call": WindowUpdateFrame(1, window_increment=1).serialize() * 5000,
    "data of an ended call": struct.pack(">HBBBI", 0, 0, 0, 0, 1) * 5000,
    "a huge frame": b"\xff\xff\xff\0\0\0\0\0\x03" + bytes(200_000),
    "goodbyes": GoAwayFrame(0).serialize() * 5000,
    "endless headers": struct.pack(">HBBBI", 0, 5, 1, 0, 7)
    + b"\0\1a\1b"
    + (struct.pack(">HBBBI", 0x27, 0x10, 9, 0, 7) + b"\0" * 10_000) * 10,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_that_h2_ignores_ends_the_connection(server: Running, kind: str) -> None:
    with wired(server) as wire:
        wire.code(wire.call(STEPS))
        wire.call(slow(1.0))  # keeps the connection from being closed for other reasons
        threading.Thread(target=_send, args=(wire.socket, FLOODS[kind])).start()
        with suppress(ConnectionError):  # closed while bytes were on their way
            ended = wire.read_until(lambda event: isinstance(event, ConnectionTerminated))
            assert ended.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert server.prediction.Predict(steps_request(steps([1])), timeout=20)


@pytest.mark.parametrize("kind", ["pings", "resets", "empty data"])
def test_a_flood_of_frames_ends_the_connection(server: Running, kind: str) -> None:
    with wired(server) as wire:
        stream = wire.begin()
        flood = PingFrame(0, b"12345678").serialize() * 5000
        if kind == "empty data":
            flood = struct.pack(">HBBBI", 0, 0, 0, 0, stream) * 5000
        if kind == "resets":
            for _ in range(3000):
                other = wire.h2.get_next_available_stream_id()
                wire.h2.send_headers(other, [
                    (":method", "POST"), (":scheme", "http"), (":path", PREDICT),
                    (":authority", "a"),
                ])  # fmt: skip
                wire.h2.reset_stream(other)
            flood = wire.h2.data_to_send()
        threading.Thread(target=_send, args=(wire.socket, flood)).start()
        try:
            ended = wire.read_until(lambda event: isinstance(event, ConnectionTerminated))
        except ConnectionError:  # closed while bytes were on their way
            return
        assert ended.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert server.prediction.Predict(steps_request(steps([1])), timeout=20)


def _send(line: socket.socket, sent: bytes) -> None:
    with suppress(OSError):
        line.sendall(sent)


def test_no_call_is_lost_as_connections_grow_old(folder: Path) -> None:
    with running(folder, max_connection_age=0.1) as server:
        begun = time.monotonic()
        calls = 0
        while time.monotonic() < begun + 1.5:
            server.prediction.Predict(steps_request(steps([1])))
            calls += 1
        assert calls > 10


def test_an_idle_client_is_asked_to_reconnect(folder: Path) -> None:
    with running(folder, idle_timeout=0.3, header_timeout=0.2) as server, wired(server) as wire:
        assert wire.code(wire.call(STEPS)) == "OK"
        goodbye = wire.read_until(lambda event: isinstance(event, ConnectionTerminated))
        assert isinstance(goodbye, ConnectionTerminated)
        assert goodbye.error_code == ErrorCodes.NO_ERROR


def test_watchers_of_health_give_way_and_are_pinged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server, "PING_SECONDS", 0.3)
    request = health_pb2.HealthCheckRequest(service="tiny").SerializeToString()
    with running(folder, header_timeout=0.4, max_connections=6) as server:
        with wired(server) as wire:
            wire.call(request, WATCH)
            for _ in range(2):
                wire.read_until(lambda event: isinstance(event, PingReceived))
            with pytest.raises((EOFError, ConnectionError)):  # pings are not acknowledged any more
                wire.read_until(lambda _: False, acknowledges=False)

        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(wired(server)).call(request, WATCH)
            assert server.prediction.Predict(steps_request(steps([1])), timeout=20)


def test_a_stop_ends_watchers_and_answers_calls(folder: Path) -> None:
    with running(folder) as server:
        watched = health_pb2_grpc.HealthStub(server.channel).Watch(
            health_pb2.HealthCheckRequest(service="tiny")
        )
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        with wired(server) as wire:
            stream = wire.call(slow(0.5))
            while not server.server.requests_in_progress:
                time.sleep(0.01)
            stopping = threading.Thread(target=server.run, args=(server.server.stop(),))
            begun = time.monotonic()
            stopping.start()
            assert wire.code(stream) == "OK"
            assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.RpcError) as caught:
                next(watched)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            stopping.join()
        assert time.monotonic() - begun < 4, "well before --drain-timeout"


def test_bytes_after_the_only_message_take_no_room(server: Running) -> None:
    """A watcher of health needs no token and can stay for hours."""
    request = health_pb2.HealthCheckRequest(service="tiny").SerializeToString()
    with wired(server) as wire:
        stream = wire.begin(WATCH)
        wire.h2.send_data(stream, packed(request))
        wire.send()
        wire.read_until(lambda event: isinstance(event, DataReceived))
        for part in (struct.pack(">BI", 0, 90_000), *[bytes(16_000)] * 5):
            wire.h2.send_data(stream, part)
        wire.send()
        assert wire.code(wire.call(STEPS)) == "OK", "all has arrived"
        assert server.server._predictor.budget.used == 0


def test_messages_beside_other_calls_are_counted_early(server: Running) -> None:
    budget = server.server._predictor.budget
    with wired(server) as wire:
        for used in (0, 10_005):  # the first one may be larger before it counts
            stream = wire.begin()
            wire.h2.send_data(stream, struct.pack(">BI", 0, 50_000) + bytes(10_000))
            wire.h2.ping(b"arrived?")
            wire.send()
            wire.read_until(lambda event: isinstance(event, PingAckReceived))
            assert budget.used == used
    while budget.used:
        time.sleep(0.01)


def test_a_status_text_is_cut_between_characters() -> None:
    text = _encoded("€" * 4000)
    assert len(text) <= MAX_REASON
    assert unquote(text, errors="strict") == "€" * (MAX_REASON // 9)
    assert _encoded("\ud800") == "?"


def test_a_broken_connection_waits_for_its_end_only() -> None:
    """Although a call is in progress, and a client that reads nothing keeps it open."""

    async def phase() -> Phase | None:
        limits = Limits()
        settings = ServerSettings(
            models=Path(), name="tiny", rest_port=0, grpc_port=0, limits=limits
        )
        server = GrpcServer(settings, ByteBudget(1000))
        server.add_registered_method_handlers("a", {"b": unanswered()})
        table = Connections(9, 9, {})
        connection = server.accept(table, None)
        connection.connection_made(Transport())
        client = H2Connection()
        client.initiate_connection()
        client.send_headers(1, [
            (":method", "POST"), (":scheme", "http"), (":path", "/a/b"), (":authority", "a"),
            ("content-type", "application/grpc"),
        ])  # fmt: skip
        client.send_data(1, packed(b""), end_stream=True)
        connection.data_received(client.data_to_send())
        await asyncio.sleep(0.01)
        assert table._phases[connection] is None, "busy"
        connection.data_received(b"\0\0\0\x08\0\0\0\0\0")
        found = table._phases[connection]
        connection.connection_lost(None)
        return found

    assert asyncio.run(phase()) is Phase.CLOSING


def unanswered() -> grpc.RpcMethodHandler:
    """Returns a method that never answers."""

    async def answer(_: bytes, __: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    return grpc.unary_unary_rpc_method_handler(answer)


class Transport(asyncio.Transport):
    """A transport whose client reads nothing."""

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass
