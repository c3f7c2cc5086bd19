"""The part of Transform's graph that a served model has computes what the whole graph does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.model_version.operations import operations
from components.trainer.transform_graph import TransformGraph
from tests.components.trainer.test_served import serialized
from tests.components.trainer.tiny_log import tiny_log

CONTEXT = ("unit_id", "horizon", "num_steps")
STEPS = ("event_type", "correct", "mean_dwell")


@pytest.fixture(scope="module")
def transform(inputs: FnArgs) -> tft.TFTransformOutput:
    return tft.TFTransformOutput(inputs.transform_graph_path)


@pytest.fixture(scope="module")
def columns(transform: tft.TFTransformOutput) -> dict[str, Any]:
    """Raw columns of a few learners, without their labels."""
    log = tiny_log(30, seed=4)
    spec = transform.raw_feature_spec()
    examples = tf.constant([serialized(log, row) for row in range(30)])
    return tf.io.parse_example(examples, {name: spec[name] for name in (*CONTEXT, *STEPS)})


def test_features_are_those_of_the_whole_graph(
    transform: tft.TFTransformOutput, columns: dict[str, Any]
) -> None:
    whole = transform.transform_features_layer()(columns)
    wanted = [name for name in whole if name != "label"]
    graph = TransformGraph(transform)
    part = tf.function(lambda raw: graph(raw, wanted), autograph=False)(columns)
    assert set(part) == set(wanted)
    assert {"prior", "step_correct", "step_event_type", "context_unit_id"} <= set(part)
    for name in wanted:
        for found, expected in zip(
            tf.nest.flatten(part[name], expand_composites=True),
            tf.nest.flatten(whole[name], expand_composites=True),
            strict=True,
        ):
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def test_only_what_is_wanted_is_copied(
    transform: tft.TFTransformOutput, columns: dict[str, Any]
) -> None:
    graph = TransformGraph(transform)
    traced = tf.function(lambda raw: graph(raw, ["num_steps"]), autograph=False)
    found = operations(traced.get_concrete_function(columns).graph.as_graph_def())
    assert not {"LookupTableFindV2", "StringToHashBucketFast"} & found


def test_a_missing_column_is_refused(
    transform: tft.TFTransformOutput, columns: dict[str, Any]
) -> None:
    graph = TransformGraph(transform)
    others = {name: column for name, column in columns.items() if name != "correct"}
    traced = tf.function(lambda raw: graph(raw, ["step_correct"]), autograph=False)
    with pytest.raises(ValueError, match="expected columns for all that is wanted"):
        traced.get_concrete_function(others)
