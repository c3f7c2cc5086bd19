"""Explanations over the wire: those of the graph, by REST and gRPC, for examples and for steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tensorflow as tf

from components.errors import MasteryError
from components.reasons.ranking import Asked, find_reasons
from components.reasons.wording import Wording
from serving.client import PredictError, connect
from serving.client.answers import outputs_of, parse_answers, parse_explanations
from serving.client.model_client import padded_columns
from tests.serving.client.conftest import CONFIG
from tests.serving.client.stand_in import Server
from tests.serving.explaining import FEATURES, TYPICAL

LEARNERS: list[dict[str, Any]] = [
    {"event_type": ["quiz", "vidéo", ""], "correct": [1.0, None, 0], "unit_id": "u", "level": 2.0},
    {"event_type": [], "correct": [], "unit_id": "unit-0", "level": None},
    {"event_type": ["quiz"], "correct": [0.0], "unit_id": "u", "level": 3.0},
]


def encoded(learner: dict[str, Any]) -> bytes:
    """Returns a learner as a serialized example."""
    numbers = [math.nan if value is None else value for value in learner["correct"]]
    level = [] if learner["level"] is None else [learner["level"]]
    lists: dict[str, Any] = {
        "event_type": tf.train.BytesList(value=[each.encode() for each in learner["event_type"]]),
        "unit_id": tf.train.BytesList(value=[learner["unit_id"].encode()]),
        "correct": tf.train.FloatList(value=numbers),
        "level": tf.train.FloatList(value=level),
        "num_steps": tf.train.Int64List(value=[len(numbers)]),
    }
    kinds = {tf.train.BytesList: "bytes_list", tf.train.FloatList: "float_list"}
    features = {
        name: tf.train.Feature(**{kinds.get(type(value), "int64_list"): value})
        for name, value in lists.items()
        if value.value
    }
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_examples_and_steps_are_explained_alike(explaining_server: Server, way: str) -> None:
    with connect(getattr(explaining_server, way), "small", batch=2) as client:
        by_example = client.explain([encoded(learner) for learner in LEARNERS])
        answers = client.predict([encoded(learner) for learner in LEARNERS])
        dense = [{**each, "level": each["level"] or 0.0} for each in LEARNERS]
        by_steps = client.explain_steps(dense)

    for one, other, answer, learner in zip(by_example, by_steps, answers, LEARNERS, strict=True):
        assert one.answer == answer
        assert one.explained_class == other.explained_class == answer.predicted_class
        assert [*one.attributions] == FEATURES
        assert one.attributions == pytest.approx(other.attributions, abs=1e-6)
        assert one.directions == pytest.approx(other.directions, abs=1e-6)
        assert one.typical_answer == pytest.approx(TYPICAL)
        length = len(learner["correct"])
        for step, same in zip(one.step_attributions, other.step_attributions, strict=False):
            assert step == pytest.approx(same, abs=1e-6)
        assert [*one.step_attributions[0]] == ["event_type", "correct"] if length else True
        assert answer.probabilities is not None
        if length:
            whole = answer.probabilities[str(answer.predicted_class)] - TYPICAL
            assert sum(one.attributions.values()) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_another_class_can_be_explained(explaining_server: Server, way: str) -> None:
    examples = [encoded(LEARNERS[0]), encoded(LEARNERS[2])]
    with connect(getattr(explaining_server, way), "small") as client:
        both = client.explain(examples, "middle")
        each = client.explain(examples, ["low", "high"])
        with pytest.raises(MasteryError, match="expected 2 classes, found 1"):
            client.explain(examples, ["low"])
    assert [found.explained_class for found in both] == ["middle"] * 2
    assert [found.explained_class for found in each] == ["low", "high"]
    assert both[0].answer == each[0].answer
    assert both[0].attributions != each[0].attributions


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_answers_say_how_sure_they_are_and_what_is_to_be_done(
    explaining_server: Server, way: str
) -> None:
    with connect(getattr(explaining_server, way), "small") as client:
        first, cold, far = client.predict([encoded(learner) for learner in LEARNERS])
    assert first.prediction_set is not None
    assert set(first.prediction_set) == {
        name for name, value in (first.probabilities or {}).items() if value >= 0.3
    }
    assert (far.basis, far.unfamiliar, far.answer_text) == ("unfamiliar", "level", "high")
    assert (cold.basis, cold.unfamiliar) == ("prior", "")
    assert cold.decisions == {"call": True}
    assert far.decisions == {"call": False}


def test_a_version_that_cannot_explain_is_refused(server: Server, example: bytes) -> None:
    with connect(server.grpc, "small") as client, pytest.raises(PredictError):
        client.explain([example])
    outputs = {"prediction": [0.5], "basis": ["sequence"]}
    with pytest.raises(PredictError, match="expected 1 explanations in each of explained_features"):
        parse_explanations(outputs, 1)


def test_a_regression_has_an_interval_and_no_class() -> None:
    outputs = {
        "prediction": [0.75],
        "basis": ["sequence"],
        "prediction_interval": [[0.5, 1.0]],
        "explained_features": [["correct", "level"]],
        "attributions": [[-0.25, 0.5]],
        "directions": [[-1.0, 1.0]],
        "step_attributions": [[[-0.25]]],
        "typical_answer": [0.5],
    }
    [answer] = parse_answers(outputs, 1)
    [found] = parse_explanations(outputs, 1)
    assert answer.prediction_interval == (0.5, 1.0)
    assert found.answer == answer
    assert found.explained_class is None
    [reasons] = find_reasons(
        outputs_of([found]), [Asked({"correct": [0.0]}, {"level": 2.0})], Wording.of(CONFIG)
    )
    assert [(each.feature, each.direction) for each in reasons.towards] == [("level", "high")]
    assert [each.text["en"] for each in reasons.against] == ["few right answers"]


def test_learners_of_other_shapes_are_refused() -> None:
    with pytest.raises(MasteryError, match=r"learner 1: expected kind, .* found other"):
        padded_columns([{"kind": ["a"]}, {"other": ["a"]}])
    with pytest.raises(MasteryError, match=r"learner 0: .* lists of \[1, 2\] values"):
        padded_columns([{"kind": ["a"], "right": [1, 0]}])
    assert padded_columns([]) == {"num_steps": []}
