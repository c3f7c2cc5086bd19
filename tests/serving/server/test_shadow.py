"""A version that answers in the shadow: logged, never returned, and harmless whatever it does."""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.errors import MasteryError
from serving.models import promotion
from serving.models.stores import open_storage
from serving.prediction_log.frames import Row
from serving.prediction_log.log_store import Query, open_store
from serving.prediction_log.recorder import Asked
from serving.prediction_log.settings import PredictionLogSettings
from serving.server import shadow as module
from serving.server.serve import choose_engine
from serving.server.server_settings import ServerSettings, check_settings
from serving.server.shadow import MOST_REQUESTS, Shadow
from serving.server.shadow_process import Other
from tests.serving.server.running import Running, running
from tests.serving.server.tiny import example, push, steps, steps_request

SLOW, FAILING, HUNGRY = 71, 72, 73  # levels of examples


class AwkwardModel(tf.Module):
    """Triples, and at some levels takes a second, fails, or wants 256 GiB."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        spec = {
            "correct": tf.io.RaggedFeature(tf.float32),
            "level": tf.io.FixedLenFeature([], tf.int64, 0),
        }
        parsed = tf.io.parse_example(examples, spec)
        level = tf.reduce_max(parsed["level"])
        tf.debugging.assert_none_equal(level, tf.constant(FAILING, tf.int64))
        end = tf.timestamp() + tf.where(level == SLOW, tf.constant(1.0, tf.float64), 0.0)
        spun = tf.while_loop(lambda _: tf.timestamp() < end, lambda count: [count + 1], [0])[0]
        size = tf.where(level == HUNGRY, tf.constant(2**36, tf.int64), tf.constant(1, tf.int64))
        held = tf.reduce_sum(tf.fill([size], 0.0))
        score = 3.0 * tf.reduce_sum(parsed["correct"].to_tensor(), axis=1)
        return {
            "score": score + held + 0.0 * tf.cast(spun, tf.float32),
            "basis": tf.fill(tf.shape(score), "sequence"),
        }


@pytest.fixture(scope="module")
def served(twice: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Version 1 is stable and doubles; version 2, pushed and awkward, answers in its shadow."""
    awkward = tmp_path_factory.mktemp("awkward") / "model"
    model = AwkwardModel()
    tf.saved_model.save(model, str(awkward), {"serving_default": model.serving_default})
    # Relative paths, as people give them.
    folder = Path(os.path.relpath(tmp_path_factory.mktemp("shadowed")))
    push(twice, folder, 1)
    push(awkward, folder, 2)
    promotion.promote(open_storage(str(folder)), 1, force=True, reason="a test's model")
    log = PredictionLogSettings(target=os.path.relpath(tmp_path_factory.mktemp("log")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOWER_PRIORITY", 0)  # on a busy machine, others would come first
        with running(folder, prediction_log=log, shadow=1.0) as server:
            yield server


def ask(server: Running, level: int = 0, where: str = "") -> float:
    body = {"instances": [{"b64": base64.b64encode(example([1.0], level)).decode()}]}
    answer = server.predict(body, where)
    assert answer.status_code == 200
    found: float = answer.json()["predictions"][0]["score"]
    return found


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def shadow_of(server: Running) -> Shadow:
    assert server.server.shadow is not None
    return server.server.shadow


def handled(server: Running) -> int:
    tally = shadow_of(server).tally
    return tally.answered + tally.failed + tally.dropped


def rows(server: Running, *, shadow: bool | None) -> list[Row]:
    recorder = server.server.recorder
    assert recorder is not None
    with closing(open_store(recorder._settings.target)) as store:
        return [*store.read(Query(shadow=shadow))]


def test_the_other_versions_answer_is_logged_with_a_mark_and_not_returned(served: Running) -> None:
    before = handled(served)
    assert [ask(served, level) for level in (1, 2, 3)] == [3.0, 4.0, 5.0]
    assert ask(served, 4, "/labels/stable") == 6.0
    wait_for(lambda: handled(served) == before + 4)
    assert shadow_of(served).tally.answered >= 4
    returned = {row.input_hash: row for row in rows(served, shadow=False)}
    shadows = {row.input_hash: row for row in rows(served, shadow=True)}
    assert returned.keys() == shadows.keys()
    assert {row.version for row in returned.values()} == {1}
    assert {row.version for row in shadows.values()} == {2}
    assert {row.answer["score"] for row in shadows.values()} == {3.0}
    for digest, row in shadows.items():
        assert row.shadow
        assert not returned[digest].shadow
        assert abs((row.at - returned[digest].at).total_seconds()) < 0.01  # of the same request
    assert {row.label for row in shadows.values()} == {None, "stable"}


@pytest.mark.parametrize(
    "levels", [(FAILING, SLOW), pytest.param((HUNGRY,), marks=pytest.mark.slow)]
)
def test_a_slow_failing_or_hungry_shadow_harms_no_answer(
    served: Running, monkeypatch: pytest.MonkeyPatch, levels: tuple[int, ...]
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.0)
    before = handled(served) + 1
    ask(served)
    wait_for(lambda: handled(served) == before)
    tally = replace(shadow_of(served).tally)

    for level in levels:
        assert ask(served, level) == 2.0 + level
        for other in range(10):  # while it spins, fails or dies
            assert ask(served, other) == 2.0 + other
        before += 11
        wait_for(lambda all_of_them=before: handled(served) == all_of_them)
    assert shadow_of(served).tally.failed > tally.failed
    if SLOW in levels:
        assert shadow_of(served).tally.answered > tally.answered
    page = served.rest.get("/monitoring/prometheus/metrics").text
    assert ':mastery:serving:shadow_rows{state="answered"}' in page
    assert not any(
        f'status="{status}"' in page for status in ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED")
    )


@pytest.mark.slow
def test_a_shadow_that_was_killed_comes_back(
    served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.0)
    before = handled(served) + 1
    ask(served)
    wait_for(lambda: handled(served) == before)
    pid = shadow_of(served).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    answered = shadow_of(served).tally.answered
    assert ask(served) == 2.0

    def is_back() -> bool:
        assert ask(served) == 2.0
        return shadow_of(served).tally.answered > answered

    wait_for(is_back)


def test_with_a_canary_each_version_answers_in_the_shadow_of_the_other(served: Running) -> None:
    folder = served.server.versions._settings.models
    storage = open_storage(str(folder))
    promotion.start_canary(storage, 2, 50, force=True, reason="a test's model")
    served.poll()
    before = handled(served)
    found = [ask(served, level) for level in range(30, 50)]
    wait_for(lambda: handled(served) == before + 20)
    promotion.stop_canary(storage)
    served.poll()

    by_canary = [score == 3.0 for score in found]
    assert 0 < sum(by_canary) < 20
    hashes = {row.input_hash for row in rows(served, shadow=False) if row.version == 2}
    assert len(hashes) == sum(by_canary)
    assert hashes == {row.input_hash for row in rows(served, shadow=True) if row.version == 1}


def test_what_the_shadow_lacks_fails_there_alone(served: Running) -> None:
    before = shadow_of(served).tally.failed
    served.prediction.Predict(steps_request(steps([3, 1])))  # no such signature there
    wait_for(lambda: shadow_of(served).tally.failed == before + 2)


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    log = PredictionLogSettings(target=str(tmp_path / "log"))
    return ServerSettings(models=tmp_path, name="tiny", prediction_log=log, shadow=1.0)


def test_what_cannot_wait_is_dropped(
    settings: ServerSettings, served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.server.versions.lease(None, None) as servable:
        signature = servable.model.signature("")
    shadow = Shadow(settings, 1.0)
    other = Other(2, settings.models, frozenset({1, 2}))
    inputs = {"examples": np.array([b"12345", b"1"], object)}

    async def offer(count: int) -> None:
        for _ in range(count):
            shadow.offer(other, signature, inputs, 2, Asked(0.0))
        shadow._later.clear()  # nobody is to be asked

    served.run(offer(MOST_REQUESTS + 3))
    assert shadow.tally.dropped == 3 * 2
    monkeypatch.setattr(module, "MOST_BYTES", 11)
    shadow = Shadow(settings, 1.0)
    served.run(offer(3))
    assert shadow.tally.dropped == 2 * 2
    assert shadow.pid is None


def test_a_share_of_the_learners_is_copied(settings: ServerSettings) -> None:
    shadow = Shadow(settings, 0.25)
    names = [f"learner-{number}".encode() for number in range(10_000)]
    taken = {name for name in names if shadow._takes(name)}
    assert abs(len(taken) / len(names) - 0.25) <= 0.01
    more = Shadow(settings, 0.5)
    assert taken < {name for name in names if more._takes(name)}


def test_a_shadow_needs_the_log_and_the_embedded_server(settings: ServerSettings) -> None:
    with pytest.raises(MasteryError, match="--shadow: expected --prediction-log"):
        check_settings(replace(settings, prediction_log=None))
    with pytest.raises(MasteryError, match=r"share of 0 to 1, found 1\.5"):
        check_settings(replace(settings, shadow=1.5))
    assert "--shadow" in choose_engine("auto", settings).why
