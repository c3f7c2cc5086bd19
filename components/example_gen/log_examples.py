"""Examples straight from a log, without a pipeline: to score a model, or to look at a log."""

from __future__ import annotations

from collections.abc import Iterator

from components.config import Config
from components.event_log.crosscheck import Part
from components.event_log.log import read_log
from components.event_log.spec import LogSpec
from components.example_gen.encode import encode, feature_columns
from components.example_gen.join import join_batches


def examples_from_log(config: Config) -> Iterator[bytes]:
    """Yields a serialized `tf.Example` for every outcome of a log, as ExampleGen writes them, of all splits.

    The order is ExampleGen's too: by the hash of the learner, then unit and `as_of`.

    Args:
        config: where the log is (`data.events`, `data.outcomes`) and how it is read.

    Raises:
        LogError: the log cannot be used; before the first example.
    """
    part, _ = read_log(config, splits=False, keys_only=False)
    return _encode(part, LogSpec.of(config))


def _encode(part: Part, spec: LogSpec) -> Iterator[bytes]:
    for batch in join_batches(part.windows, part.outcomes, list(spec.features)):
        yield from encode(batch, feature_columns(spec))
