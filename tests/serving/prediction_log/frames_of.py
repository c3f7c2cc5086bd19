"""Frames and files of the spool for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np

from serving.prediction_log.frames import MAGIC, Layout, Row, encode_rows

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def outputs_of(numbers: Sequence[float]) -> dict[str, np.ndarray]:
    """Returns outputs of as many rows."""
    classes = np.array([[b"low", b"high"]] * len(numbers), object)
    return {"score": np.array(numbers, np.float32), "classes": classes.reshape(-1, 2)}


def frame_of(
    numbers: Sequence[float], *, at: datetime = NOON, label: str | None = None
) -> tuple[Layout, bytes]:
    """Returns the layout and the frame of one request whose inputs are its scores as text."""
    outputs = outputs_of(numbers)
    layout = Layout.of("tiny", 7, outputs)
    hashes = [hash_of(number) for number in numbers]
    request = (at.timestamp(), 0.25, label)
    return layout, encode_rows(layout, hashes, [0] * len(numbers), [request], outputs)


def hash_of(number: float) -> bytes:
    return sha256(json.dumps(number).encode()).digest()


def write_segment(path: Path, *frames: tuple[Layout, bytes], tail: bytes = b"") -> Path:
    """Writes a complete file of the spool."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + frames[0][0].frame + b"".join(frame for _, frame in frames) + tail)
    return path


def row_of(number: float, *, at: datetime = NOON, minutes: float = 0, **changes: object) -> Row:
    """Returns a row of the log."""
    moment = at + timedelta(minutes=minutes)
    answer = {"score": number, "classes": ["low", "high"]}
    row = Row(f"id-{number}", moment, "tiny", 7, None, hash_of(number).hex(), answer, 0.25)
    return row._replace(**changes)
