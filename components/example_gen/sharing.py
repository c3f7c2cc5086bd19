"""Shared examples: one sequence and all outcomes along it, in place of one example per outcome.

The outcomes of a sequence see nearly the same events. Fitting reads them once for all outcomes, so
the train and eval splits hold them once. The test split has what a server is asked: one outcome.

A sequence longer than `max_steps` is cut into chunks that overlap by half, so that an outcome far
from its beginning still sees half of `max_steps` events or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.contracts.names import LEARNER, NUM_STEPS, SEQUENCE, SPLIT, SPLITS, TEST
from components.event_log.point_in_time import Windows

if TYPE_CHECKING:
    import numpy.typing as npt

    from components.event_log.log_spec import LogSpec
    from components.event_log.point_in_time import Part

_CHUNK = "_chunk"
_RANGE = ("_first", "_start", "_stop", "_end")  # the fields of `Windows`
_ALONE = (LEARNER, SPLIT)  # the same for all outcomes of an example


def examples_of(part: Part, spec: LogSpec) -> Iterator[tuple[Windows, pl.DataFrame]]:
    """Yields the windows and the rows of the examples of a part of the log.

    Without `steps.shared` these are the outcomes as they are. With it, the rows of each split but
    the test split are those of `share_sequences`.
    """
    if not spec.shared:
        yield part.windows, part.outcomes
        return
    for split in SPLITS:
        is_in = (part.outcomes[SPLIT] == split).to_numpy()
        windows, outcomes = _select(part.windows, is_in), part.outcomes.filter(is_in)
        if split != TEST:
            windows, outcomes = share_sequences(
                windows, outcomes, spec.sequence_keys, spec.max_steps
            )
        yield windows, outcomes


def share_sequences(
    windows: Windows, outcomes: pl.DataFrame, keys: Sequence[str], max_steps: int
) -> tuple[Windows, pl.DataFrame]:
    """Returns the windows and the rows of shared examples: one for each chunk with outcomes.

    Chunks of a sequence begin every half of `max_steps` events, rounded up. An outcome belongs to
    the first chunk that reaches to its last event before `as_of`, and sees the chunk up to there. A
    chunk ends with the last event that one of its outcomes sees.

    Args:
        windows: of the outcomes.
        outcomes: all rows of a sequence one after the other; of one split, with `_split`.
        keys: the columns whose values make a sequence.
        max_steps: how many events a chunk has at most.

    Returns:
        A window for each example, and its row, in the order of `outcomes`. `learner_id` and
        `_split` have one value per example. Every other column has a list with one value per
        outcome, sorted by how much they see, and so has `num_steps`: how many steps of the example
        an outcome sees. A missing integer is left out of its list, because no integer means
        "missing"; the model reads no integers.
    """
    stride = (max_steps + 1) // 2
    before = windows.stop - windows.first  # events before `as_of`, kept or not
    chunk = np.maximum(-(-(before - max_steps) // stride), 0)
    start = windows.first + chunk * stride

    bounds = (windows.first, start, windows.stop, windows.end)
    added = {
        _CHUNK: chunk,
        NUM_STEPS: windows.stop - start,
        **dict(zip(_RANGE, bounds, strict=True)),
    }
    rows = outcomes.with_columns(
        pl.struct(keys).rle_id().alias(SEQUENCE),
        *(pl.Series(name, values) for name, values in added.items()),
    )

    listed = [name for name in (*outcomes.columns, NUM_STEPS) if name not in _ALONE]
    examples = (
        rows.sort(SEQUENCE, _CHUNK, NUM_STEPS, maintain_order=True)
        .group_by(SEQUENCE, _CHUNK, maintain_order=True)
        .agg(
            pl.col(*_ALONE).first(),
            pl.col(*_RANGE).last(),
            *(_present(name, rows.schema[name]) for name in listed),
        )
    )
    first, start, stop, end = (examples[name].to_numpy() for name in _RANGE)
    return Windows(windows.events, first, start, stop, end), examples.select(*_ALONE, *listed)


def _present(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).drop_nulls() if dtype.is_integer() else pl.col(name)


def _select(windows: Windows, is_in: npt.NDArray[np.bool_]) -> Windows:
    bounds = (windows.first, windows.start, windows.stop, windows.end)
    return Windows(windows.events, *(rows[is_in] for rows in bounds))
