"""Finds one learner in the files of a root of runs, and puts a pseudonym in place of the id.

Examples, predictions and statistics of runs hold ids. The pseudonym is a random word, the same in
all files of one erasure, so that counts and joins stay right; nothing leads back from it. Models
hold no ids. After an erasure, every other file of the root is searched for the id as well.
"""

from __future__ import annotations

import gzip
import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from components.contracts.names import LEARNER, PREDICTIONS_FILE, STATISTICS_FILE
from components.errors import MasteryError
from components.example_gen.encoding import encode
from components.files.atomic import new_file
from components.files.records import open_records, read_records
from components.node.node_id import Node

Kind = Literal["examples", "predictions", "statistics", "other"]

_BLOCK = 2**20


@dataclass(frozen=True)
class Trace:
    """A file that holds a learner.

    Attributes:
        path: the file.
        kind: what it is; `other` is not rewritten.
        rows: examples, predictions or places in statistics; 1 for `other`.
    """

    path: Path
    kind: Kind
    rows: int


def new_pseudonym() -> str:
    """Returns a word in place of an id; no two are the same, and no id is behind it."""
    return f"erased-{secrets.token_hex(8)}"


def find_traces(folder: Path, learner: str) -> list[Trace]:
    """Returns the files below a folder that hold a learner, in the order of their paths.

    Args:
        folder: a root of runs, `mastery run --root`, or a pipeline's folder in it.
        learner: the id.
    """
    found = ((path, _kind(path)) for path in sorted(folder.rglob("*")) if path.is_file())
    traces = (Trace(path, kind, _count(path, kind, learner)) for path, kind in found)
    return [trace for trace in traces if trace.rows]


def erase_traces(traces: list[Trace], learner: str, pseudonym: str) -> list[Trace]:
    """Puts a pseudonym in place of the id; returns the traces that are left, of kind `other`.

    Each file is replaced as a whole; stopped in the middle, a second call does the rest.
    """
    for trace in traces:
        if trace.kind == "examples":
            _rewrite_examples(trace.path, learner, pseudonym)
        elif trace.kind == "predictions":
            _rewrite_predictions(trace.path, learner, pseudonym)
        elif trace.kind == "statistics":
            _rewrite_statistics(trace.path, learner, pseudonym)
    return [trace for trace in traces if trace.kind == "other"]


def trained_examples(traces: list[Trace]) -> list[Path]:
    """Returns the folders of examples from whose training or evaluation split a learner was."""
    folders = {
        trace.path.parent.parent
        for trace in traces
        if trace.kind == "examples" and trace.path.parent.name in ("Split-train", "Split-eval")
    }
    return sorted(folders)


def _kind(path: Path) -> Kind:
    is_examples = Node.EXAMPLE_GEN.value in path.parts and path.parent.name.startswith("Split-")
    if is_examples and path.suffix == ".gz":
        return "examples"
    if path.name == PREDICTIONS_FILE:
        return "predictions"
    return "statistics" if path.name == STATISTICS_FILE else "other"


def _count(path: Path, kind: Kind, learner: str) -> int:
    if kind == "examples":
        part = _encoded(learner)
        return sum(part in record for record in read_records(path))
    if kind == "predictions":
        return sum(_is_learner(pl.read_parquet(path), learner))
    if kind == "statistics":
        return len(_places(_read_statistics(path), learner))
    return int(holds_id(path, learner))


def _encoded(learner: str) -> bytes:
    """Returns the id as an example has it: a whole message among those that it is made of."""
    [part] = encode(pl.DataFrame({LEARNER: [learner]}), [LEARNER])
    return part


def _is_learner(rows: pl.DataFrame, learner: str) -> pl.Series:
    if LEARNER not in rows.columns:
        return pl.repeat(False, rows.height, eager=True)
    return rows[LEARNER].cast(pl.String).eq(learner).fill_null(False)


def _rewrite_examples(path: Path, learner: str, pseudonym: str) -> None:
    before, after = _encoded(learner), _encoded(pseudonym)
    with new_file(path) as beside, open_records(beside) as writer:
        for record in read_records(path):
            writer.write(record.replace(before, after, 1))


def _rewrite_predictions(path: Path, learner: str, pseudonym: str) -> None:
    rows = pl.read_parquet(path)
    is_learner = _is_learner(rows, learner)
    ids = pl.select(
        pl.when(is_learner).then(pl.lit(pseudonym)).otherwise(rows[LEARNER]).alias(LEARNER)
    )
    with new_file(path) as beside:
        rows.with_columns(ids[LEARNER]).write_parquet(beside)


def _read_statistics(path: Path) -> DatasetFeatureStatisticsList:
    return DatasetFeatureStatisticsList.FromString(path.read_bytes())


def _places(statistics: DatasetFeatureStatisticsList, learner: str) -> list[tuple[Any, str]]:
    """Returns where statistics hold an id: messages, and the field of each."""
    places: list[tuple[Any, str]] = []
    for dataset in statistics.datasets:
        for feature in dataset.features:
            strings = feature.string_stats
            places += [(top, "value") for top in strings.top_values if top.value == learner]
            for bucket in strings.rank_histogram.buckets:
                places += [(bucket, "label")] if bucket.label == learner else []
    return places


def _rewrite_statistics(path: Path, learner: str, pseudonym: str) -> None:
    statistics = _read_statistics(path)
    for message, field in _places(statistics, learner):
        setattr(message, field, pseudonym)
    with new_file(path) as beside:
        beside.write_bytes(statistics.SerializeToString(deterministic=True))


def holds_id(path: Path, learner: str) -> bool:
    """Returns whether a file holds an id as a word of its own, gzipped or not."""
    wanted = learner.encode()
    word = re.compile(rb"(?<![\w.@-])" + re.escape(wanted) + rb"(?![\w@-])")
    carried = b""
    for block in _blocks(path):
        window = carried + block
        if word.search(window):
            return True
        carried = window[-len(wanted) - 1 :]
    return False


def _blocks(path: Path) -> Iterator[bytes]:
    """Yields what a file says, unpacked as far as it can be.

    Raises:
        MasteryError: it cannot be read, so nobody knows whether it holds an id.
    """
    try:
        if path.suffix == ".gz":
            with suppress(gzip.BadGzipFile, EOFError, zlib.error), gzip.open(path, "rb") as packed:
                yield from iter(partial(packed.read, _BLOCK), b"")
                return
        with path.open("rb") as file:  # of a damaged .gz, the bytes as they are
            yield from iter(partial(file.read, _BLOCK), b"")
    except OSError as error:
        raise MasteryError(
            f"{path}: could not be read ({error.strerror}), so nobody knows whether it holds the "
            "id. Make it readable, or remove it."
        ) from None
