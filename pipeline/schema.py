"""`mastery schema`: infers a schema from the configured log, or compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.errors import MasteryError
from components.files.atomic import write_text
from components.schema import infer
from pipeline.run.prepare import read_schema

if TYPE_CHECKING:
    from components.config import Config

_BATCH = 5000  # examples decoded at a time


def infer_schema(config: Config) -> schema_pb2.Schema:
    """Returns a first schema of the log of `config`.

    Raises:
        LogError: the log cannot be used.
    """
    return infer.infer_schema(_statistics(config), config)


def write_schema(schema: schema_pb2.Schema, path: Path, *, force: bool) -> str:
    """Writes a schema as text and returns a line for the terminal.

    Raises:
        MasteryError: the file exists and `force` is false; it may have been curated by hand.
    """
    if path.exists() and not force:
        raise MasteryError(
            f"{path} already exists. Choose another file with --out, or overwrite it with --force."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, infer.to_text(schema))
    return (
        f"Wrote {path} with {len(schema.feature)} features. "
        "Review it, and add ranges and domains by hand."
    )


def diff_schema(config: Config) -> list[str]:
    """Compares the configured log with the curated schema; see `schema_changes`.

    Raises:
        ConfigError: the curated schema is missing, or not a TFDV schema.
        LogError: the log cannot be used.
    """
    return infer.schema_changes(read_schema(Path(config.schema_)), _statistics(config))


def _statistics(config: Config) -> statistics_pb2.DatasetFeatureStatisticsList:
    return infer.statistics_of(_batches(config))


def _batches(config: Config) -> Iterator[pa.RecordBatch]:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    from components.example_gen.examples import examples_as_written

    decoder = ExamplesToRecordBatchDecoder()
    examples = examples_as_written(config)
    while batch := list(islice(examples, _BATCH)):
        yield decoder.DecodeBatch(batch)
