"""The spool's files: what is written is read, and damage costs only what is damaged."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.prediction_log.frames import (
    MAGIC,
    Layout,
    encode_rows,
    erase_from_segment,
    read_segment,
)
from tests.serving.prediction_log.frames_of import NOON, frame_of, hash_of, write_segment


def scores(path: Path) -> list[float]:
    return [row.answer["score"] for row in read_segment(path).rows]


def test_rows_are_read_as_written(tmp_path: Path) -> None:
    path = write_segment(
        tmp_path / "a.spool", frame_of([0.5, 0.1], label="canary"), frame_of([0.25])
    )
    content = read_segment(path)
    assert content.damaged == 0
    first, second, third = content.rows
    assert first.answer == {"score": 0.5, "classes": ["low", "high"]}
    assert second.answer["score"] == 0.1  # as short as the float's own text
    assert (first.model, first.version, first.label, third.label) == ("tiny", 7, "canary", None)
    assert (first.at, first.latency) == (NOON, 0.25)
    assert second.input_hash == hash_of(0.1).hex()
    assert len({row.id for row in content.rows}) == 3
    assert first.id.startswith("a-")
    assert read_segment(path).rows == content.rows


@given(cut=st.integers(1, 10_000))
def test_a_tail_that_was_cut_off_costs_only_its_frame(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = write_segment(
        tmp_path_factory.mktemp("spool") / "a.spool", frame_of([1.0, 2.0]), frame_of([3.0])
    )
    whole = path.read_bytes()
    last = len(frame_of([3.0])[1])
    left = whole[: len(whole) - 1 - cut % (last - 1)]
    path.write_bytes(left)
    content = read_segment(path)
    assert [row.answer["score"] for row in content.rows] == [1.0, 2.0]
    assert content.damaged == len(left) - (len(whole) - last) > 0


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 100, b"\x01", bytes(8)])
def test_what_a_power_cut_leaves_at_the_end_is_counted(tmp_path: Path, tail: bytes) -> None:
    path = write_segment(tmp_path / "a.spool", frame_of([1.0]), tail=tail)
    content = read_segment(path)
    assert [row.answer["score"] for row in content.rows] == [1.0]
    assert content.damaged == len(tail)


def test_a_damaged_frame_does_not_cost_those_after_it(tmp_path: Path) -> None:
    damaged = bytearray(frame_of([2.0])[1])
    damaged[-1] ^= 1
    layout, _ = frame_of([2.0])
    path = write_segment(
        tmp_path / "a.spool", frame_of([1.0]), (layout, bytes(damaged)), frame_of([3.0])
    )
    assert scores(path) == [1.0, 3.0]
    assert read_segment(path).damaged == len(damaged)


@pytest.mark.parametrize("content", [b"", MAGIC[:5], MAGIC, b"something else"])
def test_a_file_without_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.spool"
    path.write_bytes(content)
    found = read_segment(path)
    assert found.rows == []
    assert found.damaged == (0 if content == MAGIC else len(content))


def test_values_that_databases_do_not_take_are_texts(tmp_path: Path) -> None:
    outputs = {
        "number": np.array([np.nan, np.inf, -np.inf, 1.0], np.float64),
        "text": np.array([b"a", "größer".encode(), b"c", b"d"], object),
        "nul": np.array([b"a\0b", b"", b"c", b"d"], object),
        "bytes": np.array([b"\xff", b"b", b"c", b"d"], object),
        "half": np.array([0.5, 1, 2, 3], ml_dtypes.bfloat16),
        "complex": np.array([1 + 2j, 0, 0, 0], np.complex64),
        "flag": np.array([True, False, True, False]),
        "big": np.array([2**63, 0, 1, 2], np.uint64),
    }
    layout = Layout.of("tiny", 7, outputs)
    hashes = [hash_of(number) for number in range(4)]
    frame = encode_rows(layout, hashes, [0] * 4, [(0.0, 0.0, None)], outputs)
    rows = read_segment(write_segment(tmp_path / "a.spool", (layout, frame))).rows
    assert [row.answer["number"] for row in rows] == ["NaN", "Infinity", "-Infinity", 1.0]
    assert rows[0].answer["nul"] == {"b64": "YQBi"}
    assert rows[0].answer["bytes"] == {"b64": "/w=="}
    assert rows[1].answer["text"] == "größer"
    assert rows[0].answer["half"] == 0.5
    assert rows[0].answer["complex"] == [1.0, 2.0]
    assert (rows[0].answer["flag"], rows[0].answer["big"]) == (True, 2**63)


def test_erased_rows_are_gone_and_the_others_are_the_same(tmp_path: Path) -> None:
    path = write_segment(tmp_path / "a.spool", frame_of([1.0, 2.0]), frame_of([2.0, 3.0]))
    before = read_segment(path).rows
    assert erase_from_segment(path, {hash_of(2.0), hash_of(9.0)}) == 2
    assert hash_of(2.0) not in path.read_bytes()
    content = read_segment(path)
    assert content.damaged == 0
    assert content.rows == [row for row in before if row.answer["score"] != 2.0]
    assert erase_from_segment(path, {hash_of(2.0)}) == 0


def test_answers_of_a_shadow_keep_their_mark(tmp_path: Path) -> None:
    layout, frame = frame_of([1.0])
    marked = Layout(layout.model, layout.version, layout.outputs, shadow=True)
    assert layout.body == b'L["tiny", 7, [["score", "f4"], ["classes", "O"]]]'  # as ever
    assert Layout.parse(marked.body) == marked
    assert Layout.parse(layout.body) == layout
    assert marked.number != layout.number
    outputs = {"score": np.array([2.0], np.float32), "classes": np.array([[b"a", b"b"]], object)}
    other = encode_rows(marked, [hash_of(2.0)], [0], [(NOON.timestamp(), 0.1, None)], outputs)
    path = write_segment(tmp_path / "a.spool", (layout, frame), (marked, marked.frame + other))
    assert [row.shadow for row in read_segment(path).rows] == [False, True]
