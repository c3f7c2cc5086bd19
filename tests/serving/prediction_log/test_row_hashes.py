"""Hashes of inputs do not depend on how a row was sent, and differ where inputs do."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.prediction_log.row_hashes import RowHasher, row_hashes
from serving.server.batching import join_requests
from tests.serving.server.tiny import Steps, steps

STEPS = ("correct", "event_type")


def test_an_example_has_the_hash_of_its_bytes() -> None:
    examples = np.array([b"", b"\x00one", b"two"], object)
    assert row_hashes({"examples": examples}) == [
        sha256(example).digest() for example in (b"", b"\x00one", b"two")
    ]


@pytest.mark.parametrize("size", [2046, 2047, 2048, 4094, 4095, 65535, 65536, 100_000])
def test_an_example_of_any_size_has_the_hash_of_its_bytes(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    assert row_hashes({"examples": np.array([content], object)}) == [sha256(content).digest()]


def test_tensors_have_the_hash_that_is_documented() -> None:
    inputs = {
        "level": np.array([3], np.int64),
        "correct": np.array([[1.5, 0.0]], np.float32),
        "event_type": np.array([[b"quiz", b""]], object),
        "num_steps": np.array([1], np.int64),
    }
    head = b"'correct' <f4 [steps]\n'event_type' text [steps]\n'level' <i8 []\n'num_steps' <i8 []\n"
    content = b"".join(
        [
            np.float32(1.5).tobytes(),
            (4).to_bytes(4, "little") + b"quiz",
            (3).to_bytes(8, "little"),
            (1).to_bytes(8, "little"),
        ]
    )
    assert row_hashes(inputs, STEPS) == [sha256(head + content).digest()]


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    more=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_neither_padding_nor_a_batch_changes_a_hash(
    lengths: list[int], more: int, seed: int
) -> None:
    inputs = steps(lengths, seed, width=max(lengths) + more)
    alone = [row_hashes(row(inputs, at), STEPS)[0] for at in range(len(lengths))]
    assert row_hashes(inputs, STEPS) == alone
    parts = [row(inputs, at) for at in range(len(lengths))]
    assert row_hashes(join_requests(parts, STEPS), STEPS) == alone


def row(inputs: Steps, at: int) -> Steps:
    """Returns one row, padded no more than needed."""
    length = int(inputs["num_steps"][at])
    return {
        name: values[at : at + 1, :length] if name in STEPS else values[at : at + 1]
        for name, values in inputs.items()
    }


texts = st.lists(st.binary(max_size=3), max_size=3)


@given(texts, texts)
def test_texts_that_differ_have_other_hashes(one: list[bytes], other: list[bytes]) -> None:
    def hashed(words: list[bytes]) -> bytes:
        column = np.empty((1, len(words)), object)
        column[0, :] = words
        inputs = {"words": column, "num_steps": np.array([len(words)], np.int64)}
        return row_hashes(inputs, ("words",))[0]

    assert (hashed(one) == hashed(other)) == (one == other)


def test_steps_of_unequal_width_count_whole() -> None:
    inputs = {
        "a": np.zeros((1, 2), np.float32),
        "b": np.zeros((1, 3), np.float32),
        "num_steps": np.array([1], np.int64),
    }
    before = row_hashes(inputs, ("a", "b"))
    inputs["b"][0, 2] = 1
    assert row_hashes(inputs, ("a", "b")) != before


def test_requests_of_other_shapes_do_not_share_a_hash() -> None:
    hasher = RowHasher()
    flat = {"a": np.zeros((1, 4), np.float32), "b": np.zeros(1, np.int64)}
    square = {"a": np.zeros((1, 2, 2), np.float32), "b": np.zeros(1, np.int64)}
    hashes = [hasher.hash(inputs) for inputs in (flat, square, flat, square)]
    assert hashes[:2] == hashes[2:]
    assert hashes[0] != hashes[1]
    assert hashes[:2] == [row_hashes(flat), row_hashes(square)]


def test_inputs_without_values() -> None:
    inputs = {"a": np.zeros((2, 0), np.float32), "b": np.empty((2, 0), object)}
    first, second = row_hashes(inputs)
    assert first == second
