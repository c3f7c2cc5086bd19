"""Copies of requests to another version: their answers are handed on, never returned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from components.errors import MasteryError
from serving.client import Retry, Shadow, ShadowedAnswer, connect
from serving.client.answers import parse_answers
from serving.client.calls import Transient
from serving.client.model_client import Client, pseudonyms
from serving.client.shadow import ShadowCopies
from tests.serving.client.stand_in import Server

OUTPUTS = {
    "classes": [["low", "high"]] * 3,
    "probabilities": [[0.4, 0.6]] * 3,
    "predicted_class": ["high"] * 3,
    "basis": ["sequence"] * 3,
}
EXAMPLES = [b"one", b"two", b"three"]
ANSWERS = parse_answers(OUTPUTS, 3)


class Other:
    """Another version, which may be slow, broken or gone."""

    def __init__(self, answer: Callable[[int], dict[str, list[Any]]]) -> None:
        self.answer = answer
        self.asked: list[list[bytes]] = []

    def call(
        self,
        signature: str,  # noqa: ARG002
        inputs: Any,
        timeout: float,  # noqa: ARG002
        learners: str | None = None,  # noqa: ARG002
    ) -> dict[str, list[Any]]:
        self.asked.append(list(inputs["examples"]))
        return self.answer(len(inputs["examples"]))

    def close(self) -> None:
        pass


def first(count: int) -> dict[str, list[Any]]:
    return {name: values[:count] for name, values in OUTPUTS.items()}


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_other_version_is_asked_the_same_and_its_answer_handed_on(
    server: Server, example: bytes, way: str
) -> None:
    found: list[ShadowedAnswer] = []
    shadow = Shadow(found.append, label="canary")
    with connect(getattr(server, way), "small", label="stable", shadow=shadow) as client:
        answers = client.predict([example], learners=["ann"])
        wait_for(lambda: bool(found))
    assert len(server.asked) == 2
    labels = [getattr(item, "version_label", item) for item in server.asked]
    assert "stable" in labels[0]
    assert "canary" in labels[1]
    assert found[0].returned == answers[0]
    assert found[0].shadow == answers[0]  # the stand-in has one model
    assert found[0].learner == "ann"


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_learners_are_sent_as_hashes(server: Server, example: bytes, way: str) -> None:
    with connect(getattr(server, way), "small", batch=2) as client:
        client.predict([example] * 3, learners=["ann", "ben", "cleo"])
        client.predict([example])
    assert server.learners == [pseudonyms(["ann", "ben"]), pseudonyms(["cleo"]), None]
    assert "ann" not in str(server.learners)


def test_a_share_is_of_learners_always_the_same() -> None:
    shadow = Shadow(lambda _: None, label="canary", share=0.3)
    names = [f"learner-{number}" for number in range(5000)]
    taken = {name for name in names if shadow.takes(name)}
    assert abs(len(taken) / len(names) - 0.3) < 0.02
    other = Other(first)
    copies = ShadowCopies(shadow, other)
    inside = next(iter(taken))
    outside = next(name for name in names if name not in taken)
    copies.offer(EXAMPLES, [inside, outside, inside], ANSWERS)
    wait_for(lambda: copies.tally.answered == 2)
    assert other.asked == [[b"one", b"three"]]
    copies.close()


def test_a_slow_version_makes_copies_drop_and_answers_go_on() -> None:
    release = threading.Event()

    def slow(count: int) -> dict[str, list[Any]]:
        release.wait(20)
        return first(count)

    copies = ShadowCopies(Shadow(lambda _: None, label="canary", most_waiting=2), Other(slow))
    client = Client(Other(first), Retry(), shadow=copies)
    for _ in range(6):
        assert client.predict(EXAMPLES) == ANSWERS
    assert copies.tally.dropped >= 3 * 3  # one may be on its way
    release.set()
    client.close()


def fail(error: Exception) -> Callable[..., Any]:
    def raising(*_: object) -> Any:
        raise error

    return raising


@pytest.mark.parametrize(
    ("answer", "log"),
    [
        (fail(Transient("gone")), lambda _: None),
        (fail(MemoryError()), lambda _: None),
        (lambda _: {"basis": ["sequence"]}, lambda _: None),  # no predictions
        (first, fail(ValueError("the log is full"))),
    ],
)
def test_whatever_goes_wrong_is_counted_and_answers_go_on(
    answer: Callable[..., Any], log: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    copies = ShadowCopies(Shadow(log, label="canary"), Other(answer))
    client = Client(Other(first), Retry(), shadow=copies)
    for done in (1, 2):
        assert client.predict(EXAMPLES) == ANSWERS
        wait_for(lambda done=done: copies.tally.failed == 3 * done)
    assert len([record for record in caplog.records if "shadow" in record.message]) == 1
    client.close()


@pytest.mark.parametrize(
    "given",
    [{}, {"label": "canary", "version": 7}, {"label": "canary", "share": 0.0}],
)
def test_a_shadow_without_a_place_or_a_share_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(MasteryError, match="shadow: expected"):
        Shadow(lambda _: None, **given)


def test_learners_of_one_request_that_are_the_same_are_sent_once() -> None:
    names: Sequence[str] = ["ann"] * 3
    assert "," not in pseudonyms(names)
