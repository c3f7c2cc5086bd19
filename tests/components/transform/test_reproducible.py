"""What Transform makes of a row depends on that row and the whole split, not on how they came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from absl.testing import flagsaver
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import create_runner
from tfx.components.transform.executor import Executor
from tfx_bsl.coders.batch_util import GetBatchElementsKwargs

from components.config import Beam
from components.node.in_memory_runner import InMemoryRunner
from components.transform.learned import VECTOR, _log1p
from tests.components.transform.analysis import analyse, apply, examples, sections

ROWS = 150
FEATURES: dict[str, Any] = {
    "event_type": {"type": "categorical", "vocabulary": 6},
    "dwell": {"type": "numeric", "log": True},
    "speed": {"type": "numeric", "clip": [0.5, 2.5]},
    "delay": {"type": "numeric", "scale": "buckets", "buckets": 7},
}
SECTIONS = sections(
    FEATURES,
    context={"share": {"type": "numeric"}, "size": {"type": "numeric", "scale": "buckets"}},
    label={"column": "mastery", "task": "regression"},
    min_steps=3,
)


@pytest.fixture(scope="module")
def rows() -> pa.RecordBatch:
    rng = np.random.default_rng(8)
    lengths = rng.integers(0, 12, ROWS).tolist()

    def steps(draw: Any) -> list[list[Any]]:
        return [draw(length).tolist() for length in lengths]

    return examples(
        {
            "event_type": steps(lambda length: rng.choice([*"abcdefgh"], length)),
            "dwell": steps(lambda length: rng.exponential(60, length)),
            "speed": steps(
                lambda length: np.where(rng.random(length) < 0.2, np.nan, rng.random(length) * 3)
            ),
            "delay": steps(lambda length: rng.normal(0, 1e5, length)),
            "unit_id": [[unit] for unit in rng.choice(["x", "y", "z"], ROWS).tolist()],
            "share": [[value] if value > 0.1 else [] for value in rng.random(ROWS).tolist()],
            "size": [[value] for value in rng.lognormal(0, 9, ROWS).tolist()],
            "num_steps": [[length] for length in lengths],
            "mastery": [[value] for value in rng.normal(0.1, 1, ROWS).tolist()],
        }
    )


@pytest.fixture(scope="module")
def outputs(
    rows: pa.RecordBatch, tmp_path_factory: pytest.TempPathFactory
) -> list[tft.TFTransformOutput]:
    """What was analysed: at once; in another order and batches of uneven sizes; row by row."""
    shuffled = rows.take(np.random.default_rng(1).permutation(ROWS))
    uneven = [
        shuffled.slice(start, stop - start)
        for start, stop in ((0, 1), (1, 8), (8, 100), (100, ROWS))
    ]
    single = [shuffled.slice(row, 1) for row in range(ROWS)]
    return [
        analyse(tmp_path_factory.mktemp("transform"), SECTIONS, *batches)
        for batches in ([rows], uneven, single)
    ]


def test_order_and_batches_of_the_analysis_change_nothing(
    rows: pa.RecordBatch, outputs: list[tft.TFTransformOutput]
) -> None:
    first, *others = (apply(output, rows) for output in outputs)
    for other in others:
        assert other == first  # floats too, to the last bit
    words = {tuple(output.vocabulary_by_name("step_event_type")) for output in outputs}
    assert len(words) == 1


def test_a_row_is_transformed_the_same_in_any_batch(
    rows: pa.RecordBatch, outputs: list[tft.TFTransformOutput]
) -> None:
    together = apply(outputs[0], rows)
    for start, size in ((0, 1), (1, 1), (7, 13), (100, 50)):
        part = apply(outputs[0], rows.slice(start, size))
        assert part == {name: values[start : start + size] for name, values in together.items()}


def test_a_logarithm_does_not_depend_on_the_place_in_the_tensor() -> None:
    values = np.random.default_rng(2).lognormal(0, 3, 4 * VECTOR).astype(np.float32)
    whole = _log1p(tf.constant(values)).numpy()
    assert whole == pytest.approx(np.log1p(values), rel=1e-6)
    for start in range(len(values) + 1):
        assert np.array_equal(_log1p(tf.constant(values[start:])).numpy(), whole[start:])


def test_batch_sizes_do_not_depend_on_the_clock() -> None:
    with flagsaver.flagsaver(tfxio_use_byte_size_batching=False):
        by_time = GetBatchElementsKwargs(None)
        assert by_time["min_batch_size"] < by_time["max_batch_size"]
        Executor(
            Executor.Context(beam_pipeline_args=Beam().node_options)
        )  # TFX takes them for tfx-bsl's flags as well
        fixed = GetBatchElementsKwargs(None)
        assert fixed["min_batch_size"] == fixed["max_batch_size"]


def test_beam_runs_in_this_process_unless_configured_otherwise() -> None:
    def runner(beam: Beam) -> Any:
        return PipelineOptions(beam.options).view_as(StandardOptions).runner

    assert type(create_runner(runner(Beam()))) is InMemoryRunner
    assert runner(Beam(args=["--runner=FlinkRunner"])) == "FlinkRunner"
