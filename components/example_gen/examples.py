"""Makes the examples of a whole log in memory: to score a model, or to look at a log.

ExampleGen makes the same ones in parts (`components.example_gen.job`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from components.contracts.names import LEARNER, SPLIT, TRAIN, UNIT
from components.event_log.log import read_log
from components.event_log.log_spec import LogSpec
from components.event_log.point_in_time import find_windows
from components.example_gen.encoding import encode, feature_columns, join_batches
from components.example_gen.sharing import examples_of

if TYPE_CHECKING:
    from components.config.root import Config
    from components.event_log.point_in_time import Windows


def examples_from_log(config: Config) -> Iterator[bytes]:
    """Yields a serialized `tf.Example` for every outcome of a log, of all splits.

    Their bytes are those of ExampleGen, and so is their order: by the hash of the learner, then
    unit and `as_of`. No unit is held out, so all events of the past are seen.

    ```python
    examples = list(examples_from_log(load_config("configs/sample.yaml")))
    ```

    Args:
        config: where the log is (`data.events`, `data.outcomes`) and how it is read.

    Raises:
        LogError: the log cannot be used; before the first example.
    """
    log = read_log(config, splits=False, keys_only=False)
    return _encode_rows(log.part.windows, log.part.outcomes, LogSpec.of(config))


def examples_as_written(config: Config) -> Iterator[bytes]:
    """Yields what ExampleGen writes into the train split, of all learners.

    With `steps.shared` an example has many outcomes.

    Args:
        config: as for `examples_from_log`.

    Raises:
        LogError: the log cannot be used; before the first example.
    """
    log = read_log(config, splits=False, keys_only=False)
    spec = LogSpec.of(config)
    in_train = log.part.outcomes.with_columns(pl.lit(TRAIN).alias(SPLIT))
    part = replace(log.part, outcomes=in_train)
    return (
        example
        for windows, outcomes in examples_of(part, spec)
        for example in _encode_rows(windows, outcomes, spec)
    )


def _encode_rows(windows: Windows, outcomes: pl.DataFrame, spec: LogSpec) -> Iterator[bytes]:
    for batch in join_batches(windows, outcomes, list(spec.features)):
        yield from encode(batch, feature_columns(spec))


def join(
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    features: Sequence[str],
    max_steps: int,
    keys: Sequence[str] = (LEARNER, UNIT),
) -> pl.DataFrame:
    """Joins every outcome with its last `max_steps` events before `as_of`.

    Args:
        events: `learner_id`, `unit_id`, `time`, `_order` and the columns in `features`.
        outcomes: `learner_id`, `unit_id`, `as_of` and any others.
        features: names of step features; `names.DERIVED_STEPS` are computed.
        max_steps: how many of the last events are kept.
        keys: columns that make a sequence; the learner alone for `steps.history: learner`.

    Returns:
        `outcomes`, row by row, with `num_steps` and one list column per feature, each of
        `num_steps` values in time order; events at the same time keep the order of the log.
    """
    windows = find_windows(events, outcomes, max_steps, keys)
    return pl.concat(join_batches(windows, outcomes, features), rechunk=False)
