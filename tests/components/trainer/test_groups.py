"""Groups of learners in the served graph."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.trainer.groups import GroupTable

WHOLE = 99
rows = st.lists(st.tuples(st.integers(0, 5), st.integers(10, 12)), min_size=1, max_size=60)


@given(fitted=rows, asked=rows, least=st.integers(1, 8))
def test_each_example_is_in_the_narrowest_group_that_is_large_enough(
    fitted: list[tuple[int, int]], asked: list[tuple[int, int]], least: int
) -> None:
    # A narrow group lies within one wider group, as hashes of fewer columns do.
    hashes, others = (
        np.array([[100 * wide + narrow, wide, WHOLE] for narrow, wide in part], np.int64)
        for part in (fitted, asked)
    )
    table = GroupTable.of(hashes, min_examples=least)

    index = table.index(others)
    flat = np.concatenate(table.known)
    for row, place in zip(others, index, strict=True):
        large = [
            key for level, key in enumerate(row[:2]) if (hashes[:, level] == key).sum() >= least
        ]
        assert flat[place] == (large[0] if large else WHOLE)
    assert table.index_in_graph(tf.constant(others)).numpy().tolist() == index.tolist()


def test_the_whole_split_is_a_group_however_small() -> None:
    table = GroupTable.of(np.array([[7]], np.int64), min_examples=100)

    assert table.count == 1
    assert table.index(np.array([[7], [8]], np.int64)).tolist() == [0, 0]
