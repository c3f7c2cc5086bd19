"""Writing the examples of a partition: a compressed TFRecord file per split."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import tensorflow as tf

from components.contracts.names import SPLIT
from components.event_log.crosscheck import Part
from components.event_log.spec import LogSpec
from components.example_gen.encode import encode, feature_columns
from components.example_gen.join import join_batches
from components.files.atomic import new_file

OPTIONS = tf.io.TFRecordOptions(
    compression_type="GZIP", compression_level=3
)  # half of level 6's time, a fifth larger


def write_shards(part: Part | None, spec: LogSpec, folders: dict[str, str], number: int) -> None:
    """Writes `data_tfrecord-<number>-of-<partitions>.gz` into the folder of each split; same log, same bytes.

    Args:
        part: the log's rows in the partition, None for none: its shards are empty.
        spec: how the log is joined.
        folders: where each split goes.
        number: the partition's.
    """
    name = f"data_tfrecord-{number:05d}-of-{spec.partitions:05d}.gz"
    with ExitStack() as stack:
        writers = {split: _open(stack, Path(folder, name)) for split, folder in folders.items()}
        if part is None:
            return
        for batch in join_batches(part.windows, part.outcomes, list(spec.features)):
            for split, example in zip(
                batch[SPLIT], encode(batch, feature_columns(spec)), strict=True
            ):
                writers[split].write(example)


def _open(stack: ExitStack, path: Path) -> tf.io.TFRecordWriter:
    beside = stack.enter_context(new_file(path))
    return stack.enter_context(tf.io.TFRecordWriter(str(beside), OPTIONS))
