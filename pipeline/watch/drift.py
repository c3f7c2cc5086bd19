"""Measures how far new data are from those of a version: inputs, answers, labels and units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from components.command.program import quiet_imports
from components.contracts.drift_report import DriftReport
from components.contracts.manifest import Manifest
from components.contracts.names import EVAL, LEARNER, TEST, TRAIN, UNIT
from components.model_version.pushed_version import config_of
from pipeline.run.prepare import read_schema
from pipeline.watch.reference import ReferenceData, find_reference

if TYPE_CHECKING:
    from components.config import Config
    from components.monitoring.drift import Comparison
    from components.monitoring.log_sample import LogSample

MOST_ANSWERS = 50_000  # of a split's examples that the version is asked again; more are sampled


def measure_drift(
    config: Config,
    *,
    version: Path,
    root: Path,
    predictions: bool = True,
    draws: int | None = None,
) -> DriftReport:
    """Compares the configured log with the data of a version.

    The log is read and joined as ExampleGen does, with the version's own recipe: what counts is
    what the model gets to see.

    Args:
        config: where the new log is (`data`, with its span) and what may move (`schema`).
        version: a pushed version's folder.
        root: where the run that made it keeps everything.
        predictions: whether the version is asked about both, which takes the longest.
        draws: how often learners are drawn; None for the default.

    Raises:
        MasteryError: the folder is not that of a pushed version, or its data are not there.
        ConfigError: the schema cannot be read.
        LogError: the new log cannot be used.
    """
    manifest = Manifest.read(version)
    recipe = config_of(version, name=str(version))
    schema = read_schema(Path(config.schema_))
    reference = find_reference(config, manifest, root)

    with quiet_imports():
        from components.monitoring import columns
        from components.monitoring.thresholds import thresholds_of

    allowed = thresholds_of(schema)
    old = reference_sample(reference, recipe, TRAIN)
    new, examples, spans = _new_sample(_sampled(with_log_of(config, recipe)))
    compared = [*columns.compare_inputs(recipe, allowed, old, new)]
    if predictions:
        with TemporaryDirectory(prefix="mastery-drift-") as scratch:
            before = reference_answers(version, recipe, reference, Path(scratch))
            now = _answers(version, recipe, examples, new, Path(scratch))
        compared.append(columns.compare_answers(recipe, allowed, before, now))
    compared.append(columns.compare_label(recipe, allowed, old, new))
    compared += columns.compare_units(allowed, units_of(reference, recipe), new)

    return report_of(
        compared, old, new, reference,
        name=config.name,
        version=manifest.version,
        spans=spans,
        draws=draws,
        notes=[*unjudged("drift_comparator", allowed), *too_few(old, new)],
    )  # fmt: skip


def report_of(
    comparisons: Sequence[Comparison],
    old: LogSample,
    new: LogSample,
    reference: ReferenceData,
    *,
    draws: int | None,
    **facts: Any,
) -> DriftReport:
    """Returns the report on columns that were compared.

    Args:
        comparisons: of columns.
        old: what the version was made with.
        new: what it is compared with.
        reference: where `old` is from.
        draws: how often learners are drawn; None for the default.
        facts: further fields of the report.
    """
    from components.monitoring import drift

    count = drift.DRAWS if draws is None else draws
    return DriftReport.judged(
        run=reference.run,
        reference_spans=reference.data.spans,
        reference_learners=len(old.learners),
        learners=len(new.learners),
        outcomes=new.outcomes,
        few_events=new.few_events,
        confidence=drift.confidence_of(comparisons),
        draws=count,
        columns=drift.compare(comparisons, draws=count),
        **facts,
    )


def with_log_of(config: Config, recipe: Config) -> Config:
    """Returns the recipe of a version, but with the log that a configuration names."""
    return recipe.model_copy(update={"data": config.data})


def reference_sample(reference: ReferenceData, recipe: Config, split: str) -> LogSample:
    """Returns inputs, units and labels of a split of the version's data."""
    from components.monitoring.columns import sample_of
    from components.monitoring.log_sample import examples_of_split

    return sample_of(examples_of_split(reference.split(split)), recipe)


def units_of(reference: ReferenceData, recipe: Config) -> LogSample:
    """Returns the units of all splits: where units are held out, train does not have them all."""
    from components.monitoring.columns import sample_of
    from components.monitoring.log_sample import examples_of_split

    examples = (one for split in reference.splits for one in examples_of_split(split))
    return sample_of(examples, recipe, {UNIT: "categorical"})


def reference_answers(
    version: Path, recipe: Config, reference: ReferenceData, scratch: Path
) -> LogSample:
    """Returns the version's answers to data that it was not fitted to."""
    with quiet_imports():
        from components.evaluator.judged_split import open_judged
        from components.evaluator.scoring import windows_of_split
        from components.monitoring.columns import sample_of

    examples = []
    # Where outcomes share examples, only those of the test split can be asked about.
    for split in (TEST,) if recipe.steps.shared else (EVAL, TEST):
        with open_judged(reference.split(split), MOST_ANSWERS, scratch) as judged:
            examples += [one for window in windows_of_split(judged.folder) for one in window]
    return _answers(version, recipe, examples, sample_of(examples, recipe, {}), scratch)


def _sampled(read_as: Config) -> Config:
    """Returns how a log is read of which a sample of learners is enough."""
    from components.monitoring.log_sample import MOST_LEARNERS

    asked = read_as.data.sample_learners
    most = MOST_LEARNERS if asked is None else min(asked, MOST_LEARNERS)
    return read_as.model_copy(
        update={"data": read_as.data.model_copy(update={"sample_learners": most})}
    )


def _new_sample(read_as: Config) -> tuple[LogSample, list[bytes], list[str]]:
    """Returns the new data, an example per outcome, and the names of the spans."""
    from components.event_log.log import find_log
    from components.example_gen.examples import examples_as_written, examples_from_log
    from components.monitoring.columns import sample_of

    spans = find_log(read_as).spans
    examples = list(examples_from_log(read_as))
    # Where outcomes share examples, each event is there once, as in the split that was trained on.
    written = examples_as_written(read_as) if read_as.steps.shared else iter(examples)
    return sample_of(written, read_as), examples, spans


def _answers(
    version: Path, recipe: Config, examples: Sequence[bytes], of: LogSample, scratch: Path
) -> LogSample:
    """Returns the answers about the learners of a sample."""
    import polars as pl

    from components.evaluator.scoring import in_windows, write_predictions
    from components.monitoring.columns import answer_column

    file = scratch / "answers.parquet"
    write_predictions(version, in_windows(examples), recipe.label, (), file)
    answer = answer_column(recipe)
    found = pl.read_parquet(file, columns=[LEARNER, answer])
    found = found.filter(pl.col(LEARNER).is_in(of.learners.implode()))
    return one_column(answer, found[answer], found[LEARNER])


def one_column(name: str, values: Iterable[object], owners: Iterable[str]) -> LogSample:
    """Returns a sample with one column.

    Args:
        name: of the column.
        values: words or numbers, one per row.
        owners: the id of each row's learner.
    """
    import numpy as np
    import polars as pl

    from components.monitoring.log_sample import ColumnSample, LogSample

    of_row = pl.Series(LEARNER, owners, pl.String)
    learners = of_row.unique().sort()
    places = learners.search_sorted(of_row)
    assert isinstance(places, pl.Series), "a series was searched for"
    column = pl.Series(name, values)
    kind = pl.String if column.dtype == pl.String else pl.Float64
    sample = ColumnSample(column.cast(kind), places.to_numpy().astype(np.int64))
    return LogSample(learners, {name: sample}, len(of_row))


def unjudged(comparator: str, allowed: object) -> list[str]:
    """Returns a note where the schema says for no column how far it may move."""
    if allowed:
        return []
    return [
        f"the schema has no {comparator} for any column: nothing is judged; `mastery schema infer` "
        "writes some"
    ]


def too_few(old: LogSample, new: LogSample) -> list[str]:
    """Returns a note for each side that has too few learners."""
    from components.evaluator.draws import MIN_LEARNERS

    return [
        f"{whose}: expected {MIN_LEARNERS} learners or more with enough events for an interval, "
        f"found {len(sample.learners)}; nothing is judged"
        for whose, sample in (("the version's data", old), ("the new data", new))
        if len(sample.learners) < MIN_LEARNERS
    ]
