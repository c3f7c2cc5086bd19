"""A canary's share of the learners: as large as asked for, and always the same ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf

from components.contracts.serving_state import Route, Routing
from serving.models import promotion
from serving.models.storage import Storage
from serving.models.stores import open_storage
from serving.server.canary import Split, join, split_of
from tests.serving.server.running import Running, running
from tests.serving.server.tiny import example, expected_scores, push, steps, steps_request

REQUESTS = 10_000
LEARNERS = [f"learner-{number}" for number in range(120)]


def names(count: int) -> list[bytes]:
    return [f"learner-{number}".encode() for number in range(count)]


@pytest.mark.parametrize("share", [1, 10, 35, 50, 99])
def test_of_10_000_learners_the_share_is_within_one_point(share: int) -> None:
    split = Split(stable=1795338851, canary=1795338993, share=share)
    taken = sum(map(split.takes, names(REQUESTS)))
    assert abs(taken / REQUESTS - share / 100) <= 0.01


def test_a_larger_share_keeps_the_learners_of_a_smaller_one() -> None:
    taken = [{name for name in names(2000) if Split(1, 2, share).takes(name)} for share in (5, 20)]
    assert taken[0] < taken[1]


def test_another_pair_divides_the_learners_anew() -> None:
    first, second = (
        {name for name in names(4000) if Split(*pair, 50).takes(name)} for pair in ((1, 2), (2, 3))
    )
    assert 0.45 < len(first & second) / len(first) < 0.55


def test_the_split_follows_labels_in_effect() -> None:
    routes = [
        Route(label="stable", version=1, percent=80), Route(label="canary", version=2, percent=20)
    ]  # fmt: skip
    routing = Routing(revision=3, time="", model="tiny", routes=routes)
    assert split_of(routing, {"stable": 1, "canary": 2}) == Split(1, 2, 20)
    assert split_of(routing, {"stable": 1}) == Split(1)  # the canary is not loaded
    assert split_of(routing, {"stable": 1, "canary": 3}) == Split(1)  # nor is another one it
    assert split_of(routing, {}) is None
    assert split_of(Routing(revision=0, time="", model=""), {"stable": 1}) is None


def test_parts_that_do_not_fit_together_are_not_joined() -> None:
    first, other = {"score": np.zeros((1, 2))}, {"score": np.ones((1, 3))}
    assert join([([0], first), ([1], other)], 2) is None
    joined = join([([1], first), ([0], {"score": np.ones((1, 2)), "more": np.ones(1)})], 2)
    assert joined is not None
    assert joined["score"].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert joined.keys() == {"score"}


@pytest.fixture(scope="module")
def served(
    twice: Path, thrice: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Storage]]:
    """Version 1 is stable and doubles, version 2 is the canary of 30 % and triples."""
    folder = tmp_path_factory.mktemp("canary")
    push(twice, folder, 1)
    push(thrice, folder, 2)
    storage = open_storage(str(folder))
    promotion.promote(storage, 1, force=True, reason="a test's model")
    promotion.start_canary(storage, 2, 30, force=True, reason="a test's model")
    with running(folder) as server:
        yield server, storage


def shares(server: Running, learners: list[str], where: str = "") -> list[int]:
    """Returns who answered each learner, one request per learner."""
    body = {"instances": [{"b64": base64.b64encode(example([1.0])).decode()}]}
    found = []
    for learner in learners:
        answer = server.predict(body, where, headers={"X-Learner": learner})
        found.append({2.0: 1, 3.0: 2}[answer.json()["predictions"][0]["score"]])
    return found


def test_the_share_of_learners_has_the_canary_each_time(served: tuple[Running, Storage]) -> None:
    server, storage = served
    first = shares(server, LEARNERS)
    split = Split(1, 2, 30)
    assert first == [2 if split.takes(learner.encode()) else 1 for learner in LEARNERS]
    assert shares(server, LEARNERS) == first

    promotion.start_canary(storage, 2, 60, force=True, reason="a test's model")
    server.poll()
    more = shares(server, LEARNERS)
    assert all(after == 2 for before, after in zip(first, more, strict=True) if before == 2)
    assert more.count(2) > first.count(2)

    promotion.start_canary(storage, 2, 30, force=True, reason="a test's model")
    server.poll()
    assert shares(server, LEARNERS) == first


def test_a_version_or_label_is_answered_as_asked(served: tuple[Running, Storage]) -> None:
    server, _ = served
    learners = LEARNERS[:20]
    for where, version in (
        ("/labels/stable", 1), ("/labels/canary", 2), ("/versions/1", 1), ("/versions/2", 2)
    ):  # fmt: skip
        assert shares(server, learners, where) == [version] * 20


def weights(learners: list[str]) -> np.ndarray:
    split = Split(1, 2, 30)
    return np.array([3.0 if split.takes(name.encode()) else 2.0 for name in learners])


def test_rows_of_several_learners_come_back_in_their_order(
    served: tuple[Running, Storage],
) -> None:
    server, _ = served
    learners = LEARNERS[:12]
    inputs = steps([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8], seed=4)
    metadata = [("x-learner", ",".join(learners))]
    answer = server.prediction.Predict(steps_request(inputs), metadata=metadata)
    alone = [expected_scores(inputs, weight) for weight in (2.0, 3.0)]
    expected = np.where(weights(learners) == 2.0, *alone)
    assert {2.0, 3.0} == set(weights(learners))
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["score"]), expected, rtol=1e-5)
    assert not answer.model_spec.HasField("version")  # two have answered

    columns = {name: values.tolist() for name, values in inputs.items()}
    columns["event_type"] = [[text.decode() for text in row] for row in columns["event_type"]]
    body = {"signature_name": "predict_steps", "inputs": columns}
    rest = server.predict(body, headers={"X-Learner": ", ".join(learners)})
    np.testing.assert_allclose(rest.json()["outputs"]["score"], expected, rtol=1e-5)


def test_one_learner_has_one_version_for_all_rows(served: tuple[Running, Storage]) -> None:
    server, _ = served
    inputs = steps([2, 7, 1])
    for learner in LEARNERS[:10]:
        metadata = [("x-learner", learner)]
        answer = server.prediction.Predict(steps_request(inputs), metadata=metadata)
        version = 2 if weights([learner])[0] == 3.0 else 1
        assert answer.model_spec.version.value == version


def test_without_a_learner_the_input_decides(served: tuple[Running, Storage]) -> None:
    server, _ = served
    examples = [example([1.0], level) for level in range(40)]
    body = {"instances": [{"b64": base64.b64encode(item).decode()} for item in examples]}
    found = [row["score"] for row in server.predict(body).json()["predictions"]]
    assert found == [row["score"] for row in server.predict(body).json()["predictions"]]
    canary = [score == 3.0 + level for level, score in enumerate(found)]
    assert 4 <= sum(canary) <= 22
    alone = [
        server.predict({"instances": [item]}).json()["predictions"][0]["score"]
        for item in body["instances"]
    ]
    assert alone == found  # alone or with others


def test_the_open_inference_protocol_is_split_as_well(served: tuple[Running, Storage]) -> None:
    server, _ = served
    inputs = [{"name": "examples", "datatype": "BYTES", "shape": [2], "data": ["", ""]}]
    learners = [
        next(name for name in LEARNERS if weights([name])[0] == weight) for weight in (2.0, 3.0)
    ]
    for header, versions in ((learners[0], "1"), (learners[1], "2"), (",".join(learners), None)):
        url, body = "/v2/models/tiny/infer", json.dumps({"inputs": inputs})
        answer = server.rest.post(url, content=body, headers={"X-Learner": header})
        assert answer.json().get("model_version") == versions


def test_a_wrong_number_of_learners_is_refused(served: tuple[Running, Storage]) -> None:
    server, _ = served
    with pytest.raises(grpc.RpcError, match="expected a name for each of 3 rows") as raised:
        server.prediction.Predict(steps_request(steps([1, 2, 3])), metadata=[("x-learner", "a,b")])
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_counts_say_who_answered(served: tuple[Running, Storage]) -> None:
    server, _ = served
    shares(server, LEARNERS[:10])
    page = server.rest.get("/monitoring/prometheus/metrics").text
    for by in ("stable", "canary"):
        assert f':mastery:serving:routed_rows{{by="{by}",model_name="tiny"}}' in page


def test_without_a_canary_the_stable_version_answers(folder: Path, thrice: Path) -> None:
    push(thrice, folder, 2)
    storage = open_storage(str(folder))
    promotion.promote(storage, 1, force=True, reason="a test's model")
    with running(folder) as server:
        promotion.start_canary(storage, 2, 99, force=True, reason="a test's model")
        server.poll()
        assert shares(server, LEARNERS[:20]).count(2) > 15
        promotion.stop_canary(storage)
        server.poll()
        assert server.server.versions.available == [1, 2]  # still in memory, for a poll
        assert shares(server, LEARNERS[:20]) == [1] * 20


def test_a_canary_with_other_inputs_gets_no_rows(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="other")])
        def serving_default(self, other):
            return {"score": other, "basis": tf.fill(tf.shape(other), "sequence")}

    model, saved = Other(), tmp_path_factory.mktemp("other") / "model"
    tf.saved_model.save(model, str(saved), {"serving_default": model.serving_default})
    push(saved, folder, 2)
    storage = open_storage(str(folder))
    promotion.promote(storage, 1, force=True, reason="a test's model")
    promotion.start_canary(storage, 2, 99, force=True, reason="a test's model")
    with running(folder) as server:
        assert shares(server, LEARNERS[:10]) == [1] * 10
        page = server.rest.get("/monitoring/prometheus/metrics").text
        assert 'routed_rows{by="unfit",model_name="tiny"}' in page
