"""Files of records: the bytes that TensorFlow writes."""

from __future__ import annotations

import random
from pathlib import Path

import tensorflow as tf

from components.files.records import open_records, read_records

RECORDS = [b"", b"x", bytes(10**6), *(random.Random(1).randbytes(size) for size in range(500))]


def test_the_bytes_are_those_of_tensorflow(tmp_path: Path) -> None:
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=3)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs"), options) as writer:
        for record in RECORDS:
            writer.write(record)
    with open_records(tmp_path / "ours") as ours:
        for record in RECORDS:
            ours.write(record)

    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert list(read_records(tmp_path / "ours")) == RECORDS
    read = tf.data.TFRecordDataset(str(tmp_path / "ours"), "GZIP").as_numpy_iterator()
    assert list(read) == RECORDS
