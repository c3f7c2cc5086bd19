"""Measures how far served traffic is from what a version was made with.

A prediction log holds no inputs, only their hashes. Whoever has the log of events can make the same
examples again, and so knows which of them were served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from components.command.program import quiet_imports
from components.contracts.manifest import Manifest
from components.contracts.names import TEST, TRAIN
from components.errors import MasteryError
from components.model_version.pushed_version import config_of
from pipeline.run.prepare import read_schema
from pipeline.watch.drift import (
    one_column,
    reference_answers,
    reference_sample,
    report_of,
    too_few,
    units_of,
    unjudged,
    with_log_of,
)
from pipeline.watch.reference import find_reference

if TYPE_CHECKING:
    from components.config import Config
    from components.contracts.drift_report import DriftReport
    from components.monitoring.log_sample import LogSample


@dataclass(frozen=True)
class ServedAnswer:
    """A row of a prediction log.

    Attributes:
        input_hash: SHA-256 of the serialized example, in hexadecimal.
        answer: the version's outputs by name.
    """

    input_hash: str
    answer: dict[str, Any]


def measure_skew(
    config: Config,
    served: Sequence[ServedAnswer],
    *,
    version: Path,
    root: Path,
    draws: int | None = None,
) -> DriftReport:
    """Compares what a version was asked, and answered, with the data that it was made with.

    Answers are those of the prediction log. Inputs and units are those of the configured log whose
    hash is in it.

    Args:
        config: where the events are (`data`, with its span), and what may differ: `skew_comparator`
            of the schema.
        served: the rows of this version.
        version: a pushed version's folder.
        root: where the run that made it keeps everything.
        draws: how often learners are drawn; None for the default.

    Raises:
        MasteryError: nothing was served, the folder is not that of a pushed version, or its data
            are not there.
        ConfigError: the schema cannot be read.
        LogError: the log cannot be used.
    """
    manifest = Manifest.read(version)
    if not served:
        raise MasteryError(
            f"--served: expected answers of version {manifest.version}, found none in the log."
        )
    recipe = config_of(version, name=str(version))
    schema = read_schema(Path(config.schema_))
    reference = find_reference(config, manifest, root)

    with quiet_imports():
        from components.example_gen.encoding import question_columns
        from components.monitoring import columns
        from components.monitoring.thresholds import thresholds_of

    allowed = thresholds_of(schema, "skew")
    hashes = {row.input_hash for row in served}
    # A manifest sorts its keys, so who asked by a configuration asked in another order of columns.
    orders = dict.fromkeys(tuple(question_columns(one)) for one in (config, recipe))
    new, found = _served_sample(with_log_of(config, recipe), hashes, [*orders])
    # What is served is one outcome each, as in the test split.
    old = reference_sample(reference, recipe, TEST if recipe.steps.shared else TRAIN)
    with TemporaryDirectory(prefix="mastery-skew-") as scratch:
        before = reference_answers(version, recipe, reference, Path(scratch))
    compared = [columns.compare_answers(recipe, allowed, before, _answers(served, recipe))]
    known = bool(len(new.learners))
    if known:
        compared = [*columns.compare_inputs(recipe, allowed, old, new), *compared]
        compared += columns.compare_units(allowed, units_of(reference, recipe), new)

    return report_of(
        compared,
        old,
        new,
        reference,
        name=config.name,
        version=manifest.version,
        compared="served",
        draws=draws,
        notes=[
            *unjudged("skew_comparator", allowed),
            _how_many(len(served), len(hashes), found, known=known),
            *(too_few(old, new) if known else []),
        ],
    )


def _served_sample(
    read_as: Config, hashes: set[str], orders: Sequence[Sequence[str]]
) -> tuple[LogSample, int]:
    """Returns the outcomes of a log that were asked about, and how many inputs of the log they are.

    A server is asked without the label and without columns that the model does not read.

    Args:
        read_as: how the log is read.
        hashes: of the inputs that were served.
        orders: in which columns may stand in an example.
    """
    from components.event_log.log import read_log
    from components.event_log.log_spec import LogSpec
    from components.example_gen.encoding import encode, feature_columns, join_batches
    from components.monitoring.columns import sample_of

    part = read_log(read_as, splits=False, keys_only=False).part
    spec = LogSpec.of(read_as)
    found: set[str] = set()
    examples = []
    for batch in join_batches(part.windows, part.outcomes, list(spec.features)):
        is_served = [False] * batch.height
        for order in orders:
            if not {*order} <= {*batch.columns}:  # the configuration reads other columns by now
                continue
            digests = [hashlib.sha256(one).hexdigest() for one in encode(batch, order)]
            found |= hashes.intersection(digests)
            is_served = [
                known or digest in hashes for known, digest in zip(is_served, digests, strict=True)
            ]
        examples += encode(batch.filter(is_served), feature_columns(spec))
    return sample_of(examples, read_as), len(found)


def _answers(served: Sequence[ServedAnswer], recipe: Config) -> LogSample:
    """Returns the answers; of learners nothing is known, so that an input stands for one."""
    from components.monitoring.columns import answer_column

    name = answer_column(recipe)
    rows = [row for row in served if name in row.answer]
    return one_column(name, [row.answer[name] for row in rows], [row.input_hash for row in rows])


def _how_many(rows: int, inputs: int, found: int, *, known: bool) -> str:
    of_log = f"{found:,} of its {inputs:,} inputs are examples of the configured log"
    what = "inputs and units are compared for these" if known else "so only answers are compared"
    return f"the prediction log has {rows:,} rows of this version; {of_log}, {what}"
