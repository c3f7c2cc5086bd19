"""Makes the examples of a log by ExampleGen's own work, and reads what each outcome gets to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, SPLIT, SPLITS, TEST, UNIT
from components.event_log.conclusion import conclude
from components.event_log.problems import raise_if_any
from components.example_gen.encoding import encode, feature_columns
from components.example_gen.job import Job
from components.example_gen.workers import run_job
from components.files.records import read_records

if TYPE_CHECKING:
    from components.event_log.log_spec import LogSpec
    from pipeline.audit.log import Files

CONTENT = "_content"
KEYS = [LEARNER, UNIT, AS_OF]

# Takes the files of a log, how it is read, and whether it must be a whole log.
MakeExamples = Callable[..., pl.DataFrame]


def make_examples(files: Files, spec: LogSpec, *, whole: bool = True) -> pl.DataFrame:
    """Returns what ExampleGen writes, one row per outcome.

    Args:
        files: of the log.
        spec: how it is read.
        whole: whether it must hold what a run needs, such as every class in every split.

    Returns:
        Keys, label, columns of outcomes and `num_steps`, lists of steps, the split as `_split`, and
        all of that as bytes in `_content`: an example as it is written, or in place of one that
        outcomes share, an example of what this outcome sees.

    Raises:
        LogError: the log cannot be used.
    """
    with TemporaryDirectory(prefix="mastery-audit-") as folder:
        folders = {split: str(Path(folder, split)) for split in SPLITS}
        scratch = Path(folder, "scratch")
        for path in (scratch, *map(Path, folders.values())):
            path.mkdir()

        read, joined = run_job(Job.of(files, spec, folders, str(scratch)), workers=1)
        if whole:
            conclude(read, joined, spec, splits=True)
        raise_if_any([*read.problems, *joined.problems])
        return pl.concat(
            [_read_split(Path(path), split, spec) for split, path in folders.items()],
            how="diagonal_relaxed",
        )


def _read_split(folder: Path, split: str, spec: LogSpec) -> pl.DataFrame:
    """Returns the rows of one split; no columns if it is empty."""
    files = sorted(folder.glob("data_tfrecord-*.gz"))
    records = [record for file in files for record in read_records(file)]
    if not records:
        return pl.DataFrame()

    columns = feature_columns(spec)
    decoded = pl.from_arrow(ExamplesToRecordBatchDecoder().DecodeBatch(records))
    assert isinstance(decoded, pl.DataFrame), "a record batch is a table"
    absent = [
        pl.lit(None, pl.List(pl.Binary)).alias(n) for n in columns if n not in decoded.columns
    ]
    rows = decoded.with_columns(absent).select(columns)

    if spec.shared and split != TEST:
        rows = _text(_unshare(rows, [*spec.features]))
        contents = encode(rows, columns)
    else:
        single = [name for name in columns if name not in spec.features]
        rows = _text(rows.with_columns(pl.col(single).list.first()))
        contents = records
    return rows.with_columns(
        pl.lit(split).alias(SPLIT), pl.Series(CONTENT, contents, dtype=pl.Binary)
    )


def _unshare(rows: pl.DataFrame, steps: Sequence[str]) -> pl.DataFrame:
    """Returns one row per outcome of examples that outcomes share, with the steps that it sees.

    A column whose lists have another length than the outcomes, because values are missing, is null.
    """
    count = pl.col(NUM_STEPS).list.len()
    listed = [name for name in rows.columns if name not in (LEARNER, *steps)]
    uneven = [
        name for name in listed if rows.select((pl.col(name).list.len() != count).any()).item()
    ]
    aligned = rows.with_columns(
        pl.col(LEARNER).list.first(),
        *(pl.lit(None, rows.schema[name]).alias(name) for name in uneven),
    )
    exploded = aligned.explode([name for name in listed if name not in uneven])
    return exploded.with_columns(
        *(pl.col(name).list.first() for name in uneven),
        *(pl.col(name).list.head(pl.col(NUM_STEPS)) for name in steps),
    )


def _text(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns the rows with bytes as text."""
    return rows.with_columns(
        pl.col(pl.Binary).cast(pl.String), pl.col(pl.List(pl.Binary)).cast(pl.List(pl.String))
    )
