"""Retries: which requests are repeated, and when the client gives up."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from components.errors import MasteryError
from serving.client import Answer, PredictError, Retry, Target, connect
from serving.client.answers import parse_answers
from serving.client.calls import Transient
from tests.ports import free_port
from tests.serving.client.stand_in import Server

QUICK = Retry(attempts=3, first_wait=0.001)


@pytest.mark.parametrize(
    ("way", "refusals"),
    [
        ("rest", [503, 429]),
        ("rest", ["break off", "break off"]),
        ("grpc", ["UNAVAILABLE", "UNAVAILABLE"]),
    ],
)
def test_a_busy_server_is_asked_again(
    server: Server, example: bytes, way: str, refusals: list[Any]
) -> None:
    server.refuse.extend(refusals)
    with connect(getattr(server, way), "small", retry=QUICK) as client:
        [answer] = client.predict([example])
    assert answer.basis == "prior"
    assert answer.predicted_class == "high"
    assert answer.probabilities == pytest.approx({"low": 0.2, "middle": 0.3, "high": 0.5})
    assert len(server.asked) == 3


@pytest.mark.parametrize(("way", "refusal"), [("rest", 503), ("grpc", "UNAVAILABLE")])
def test_the_last_answer_is_in_the_error_after_the_last_attempt(
    server: Server, example: bytes, way: str, refusal: Any
) -> None:
    server.refuse.extend([refusal] * 9)
    with (
        connect(getattr(server, way), "small", retry=QUICK) as client,
        pytest.raises(
            PredictError,
            match=r"not now.* Tried 3 times within a deadline of 10 s; is the server up",
        ),
    ):
        client.predict([example])
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("way", "refusal"),
    [("rest", 400), ("rest", 404), ("rest", 500),
     ("grpc", "INVALID_ARGUMENT"), ("grpc", "NOT_FOUND"), ("grpc", "INTERNAL")],
)  # fmt: skip
def test_a_request_that_is_wrong_is_sent_once(
    server: Server, example: bytes, way: str, refusal: Any
) -> None:
    server.refuse.append(refusal)
    with (
        connect(getattr(server, way), "small", label="canary") as client,
        pytest.raises(PredictError, match=f"(?s)canary.*{refusal}.*not now"),
    ):
        client.predict([example])
    assert len(server.asked) == 1


def test_a_refusal_without_a_reason_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx.Client, "post", lambda *_, **__: httpx.Response(404))
    with (
        connect("http://localhost:8501", "small") as client,
        pytest.raises(PredictError, match=r":predict: the server answered 404 Not Found\.$"),
    ):
        client.predict([b""])


def test_an_answer_without_outputs_is_refused(server: Server, example: bytes) -> None:
    server.refuse.append(200)
    with (
        connect(server.rest, "small") as client,
        pytest.raises(PredictError, match=r"expected JSON with 'outputs', found .*not now"),
    ):
        client.predict([example])


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_address_without_a_server_is_named_in_the_error(scheme: str, example: bytes) -> None:
    address = f"127.0.0.1:{free_port()}"
    with (
        connect(f"{scheme}://{address}", "small", retry=QUICK) as client,
        pytest.raises(PredictError, match=f"{address}.*is the address right"),
    ):
        client.predict([example])


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_request_without_an_answer_ends_at_the_deadline(scheme: str, example: bytes) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        with (
            connect(address, "small", retry=Retry(deadline=0.2)) as client,
            pytest.raises(PredictError),
        ):
            client.predict([example])


class Time:
    """A clock that advances only by `sleep`."""

    def __init__(self) -> None:
        self.now, self.waits, self.given = 0.0, [], []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def request(self, failures: int, after: float = 0.0) -> Callable[[float], str]:
        def call(timeout: float) -> str:
            self.given.append(timeout)
            if len(self.given) <= failures:
                raise Transient("busy.", after)
            return "answer"

        return call


def test_waits_grow_and_stay_below_the_longest() -> None:
    time = Time()
    retry = Retry(attempts=7, deadline=100, first_wait=1, longest_wait=8)
    assert retry.call(time.request(6), sleep=time.sleep, clock=lambda: time.now) == "answer"
    for wait, full in zip(time.waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert full / 2 <= wait <= full
    assert time.given == pytest.approx([100 - sum(time.waits[:number]) for number in range(7)])


def test_retry_after_is_respected() -> None:
    time = Time()
    Retry(deadline=100).call(time.request(1, after=30), sleep=time.sleep, clock=lambda: time.now)
    assert time.waits == [30]


def test_no_wait_goes_beyond_the_deadline() -> None:
    time = Time()
    with pytest.raises(PredictError, match="Tried once within a deadline of 20 s"):
        Retry(deadline=20).call(time.request(9, after=30), sleep=time.sleep, clock=lambda: time.now)
    assert time.waits == []


@pytest.mark.parametrize("address", ["localhost:8501", "ftp://host", "grpc://host", "http://"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(MasteryError, match="expected an address such as http://localhost:8501"):
        connect(address, "small")


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_token_is_sent(server: Server, example: bytes, way: str) -> None:
    for token in ("s3cret", None):
        with connect(getattr(server, way), "small", token=token) as client:
            client.predict([example])
    assert server.tokens == ["Bearer s3cret", None]


def test_a_version_and_a_label_together_are_refused() -> None:
    with pytest.raises(MasteryError, match="expected a version or a label, found both"):
        Target("small", 3, "canary")


def test_answers_of_numbers_are_parsed() -> None:
    assert parse_answers({"prediction": [0.5], "basis": ["prior"]}, 1) == [
        Answer("prior", prediction=0.5)
    ]


def test_outputs_of_different_lengths_are_refused() -> None:
    with pytest.raises(
        PredictError, match="expected 2 answers in each of prediction, basis, found"
    ):
        parse_answers({"prediction": [0.5, 1.0], "basis": ["prior"]}, 2)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_many_examples_are_split_into_requests(server: Server, example: bytes, way: str) -> None:
    with connect(getattr(server, way), "small", batch=10) as client:
        assert len(client.predict([example] * 44)) == 44
    assert len(server.asked) == 5


def test_no_examples_need_no_request(server: Server) -> None:
    with connect(server.rest, "small") as client:
        assert client.predict([]) == []
    assert server.asked == []
