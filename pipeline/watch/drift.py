"""Measures how far new data are from those of a version: inputs, answers, labels and units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.command.program import quiet_imports
from components.contracts.drift_report import DriftReport
from components.contracts.manifest import Manifest
from components.contracts.names import (
    LEARNER,
    NUM_STEPS,
    PREDICTED_CLASS,
    PREDICTION,
    TEST,
    TRAIN,
    UNIT,
)
from components.model_version.pushed_version import config_of
from pipeline.run.prepare import read_schema
from pipeline.watch.reference import ReferenceData, find_reference

if TYPE_CHECKING:
    from components.config import Config
    from components.monitoring.drift import Comparison
    from components.monitoring.log_sample import ColumnType, LogSample
    from components.monitoring.thresholds import Threshold

MOST_ANSWERS = 50_000  # reference examples that the version is asked again; more are sampled


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
        from components.monitoring import drift
        from components.monitoring.thresholds import thresholds_of

    read_as = _read_as(config, recipe)
    allowed = thresholds_of(schema)
    old = _reference_sample(reference, recipe)
    new, examples, spans = _new_sample(read_as)
    compared = [*_of_inputs(recipe, allowed, old, new)]
    if predictions:
        with TemporaryDirectory(prefix="mastery-drift-") as scratch:
            answers = _answers_of_both(version, recipe, reference, examples, new, Path(scratch))
        compared.append(_of_answers(recipe, allowed, *answers))
    compared += [
        _of_label(recipe, allowed, old, new),
        *_of_units(allowed, _units_of(reference, recipe), new),
    ]

    count = drift.DRAWS if draws is None else draws
    return DriftReport.judged(
        name=config.name,
        version=manifest.version,
        run=reference.run,
        reference_spans=reference.data.spans,
        spans=spans,
        reference_learners=len(old.learners),
        learners=len(new.learners),
        outcomes=new.outcomes,
        few_events=new.few_events,
        confidence=drift.confidence_of(compared),
        draws=count,
        columns=drift.compare(compared, draws=count),
        notes=_notes(allowed, old, new),
    )


def _read_as(config: Config, recipe: Config) -> Config:
    """Returns the recipe of a version with another log, of which a sample is enough."""
    from components.monitoring.log_sample import MOST_LEARNERS

    asked = config.data.sample_learners
    most = MOST_LEARNERS if asked is None else min(asked, MOST_LEARNERS)
    data = config.data.model_copy(update={"sample_learners": most})
    return recipe.model_copy(update={"data": data})


def _inputs(recipe: Config) -> dict[str, ColumnType]:
    """Returns the columns that the model reads; units are compared apart."""
    groups: dict[str, ColumnType] = dict.fromkeys(recipe.prior.group_by, "categorical")
    steps: dict[str, ColumnType] = {
        name: feature.type for name, feature in recipe.steps.features.items()
    }
    context: dict[str, ColumnType] = {
        name: feature.type for name, feature in recipe.context.items()
    }
    found: dict[str, ColumnType] = {**steps, NUM_STEPS: "numeric", **groups, **context}
    return {name: kind for name, kind in found.items() if name != UNIT}


def _columns(recipe: Config) -> dict[str, ColumnType]:
    label: ColumnType = "categorical" if recipe.label.classes else "numeric"
    return {**_inputs(recipe), UNIT: "categorical", recipe.label.column: label}


def _sample(
    examples: Iterable[bytes], recipe: Config, columns: Mapping[str, ColumnType]
) -> LogSample:
    from components.monitoring.log_sample import read_sample

    return read_sample(
        examples,
        columns,
        steps=recipe.steps.features,
        min_steps=recipe.steps.min_steps,
        seed=recipe.data.splits.seed,
    )


def _reference_sample(reference: ReferenceData, recipe: Config) -> LogSample:
    from components.monitoring.log_sample import examples_of_split

    return _sample(examples_of_split(reference.split(TRAIN)), recipe, _columns(recipe))


def _units_of(reference: ReferenceData, recipe: Config) -> LogSample:
    """Returns the units of all splits: where units are held out, train does not have them all."""
    from components.monitoring.log_sample import examples_of_split

    examples = (one for split in reference.splits for one in examples_of_split(split))
    return _sample(examples, recipe, {UNIT: "categorical"})


def _new_sample(read_as: Config) -> tuple[LogSample, list[bytes], list[str]]:
    """Returns the new data, an example per outcome, and the names of the spans."""
    from components.event_log.log import find_log
    from components.example_gen.examples import examples_as_written, examples_from_log

    spans = find_log(read_as).spans
    examples = list(examples_from_log(read_as))
    # Where outcomes share examples, each event is there once, as in the split that was trained on.
    written = examples_as_written(read_as) if read_as.steps.shared else iter(examples)
    return _sample(written, read_as, _columns(read_as)), examples, spans


def _of_inputs(
    recipe: Config, allowed: Mapping[str, Threshold], old: LogSample, new: LogSample
) -> Iterator[Comparison]:
    from components.monitoring.drift import Comparison

    for name, kind in _inputs(recipe).items():
        threshold = allowed.get(name)
        if kind == "categorical":
            norm = None if threshold is None else threshold.infinity_norm
            yield Comparison(name, "input", "infinity_norm", norm, old, new)
        else:
            divergence = None if threshold is None else threshold.jensen_shannon
            yield Comparison(name, "input", "jensen_shannon_divergence", divergence, old, new)


def _of_label(
    recipe: Config, allowed: Mapping[str, Threshold], old: LogSample, new: LogSample
) -> Comparison:
    from components.monitoring.drift import Comparison

    name = recipe.label.column
    threshold = allowed.get(name)
    if recipe.label.classes:
        norm = None if threshold is None else threshold.infinity_norm
        return Comparison(name, "label", "infinity_norm", norm, old, new)
    divergence = None if threshold is None else threshold.jensen_shannon
    return Comparison(name, "label", "jensen_shannon_divergence", divergence, old, new)


def _of_answers(
    recipe: Config, allowed: Mapping[str, Threshold], old: LogSample, new: LogSample
) -> Comparison:
    """Compares answers; they may move as far as the label, whose values they are."""
    from components.monitoring.drift import Comparison

    threshold = allowed.get(recipe.label.column)
    if recipe.label.classes:
        norm = None if threshold is None else threshold.infinity_norm
        return Comparison(PREDICTED_CLASS, "prediction", "infinity_norm", norm, old, new)
    divergence = None if threshold is None else threshold.jensen_shannon
    return Comparison(PREDICTION, "prediction", "jensen_shannon_divergence", divergence, old, new)


def _of_units(
    allowed: Mapping[str, Threshold], known: LogSample, new: LogSample
) -> Iterator[Comparison]:
    """Compares units: which were never seen is judged, how often the others occur is shown."""
    from components.monitoring.drift import Comparison

    threshold = allowed.get(UNIT)
    norm = None if threshold is None else threshold.infinity_norm
    yield Comparison(UNIT, "unit", "share", norm, known, new)
    yield Comparison(UNIT, "unit", "infinity_norm", None, known, new)


def _answers_of_both(
    version: Path,
    recipe: Config,
    reference: ReferenceData,
    examples: list[bytes],
    new: LogSample,
    scratch: Path,
) -> tuple[LogSample, LogSample]:
    """Returns the version's answers to its test split, and to the new data."""
    with quiet_imports():
        from components.evaluator.judged_split import open_judged
        from components.evaluator.scoring import in_windows, windows_of_split

    with open_judged(reference.split(TEST), MOST_ANSWERS, scratch) as judged:
        windows = list(windows_of_split(judged.folder))
    tested = _sample((one for window in windows for one in window), recipe, {})
    return (
        _answers(version, recipe, windows, tested, scratch),
        _answers(version, recipe, in_windows(examples), new, scratch),
    )


def _answers(
    version: Path, recipe: Config, windows: Iterable[list[bytes]], of: LogSample, scratch: Path
) -> LogSample:
    """Returns the answers about the learners of a sample."""
    import numpy as np
    import polars as pl

    from components.evaluator.scoring import write_predictions
    from components.monitoring.log_sample import ColumnSample, LogSample

    file = scratch / "answers.parquet"
    write_predictions(version, windows, recipe.label, (), file)
    answer = PREDICTED_CLASS if recipe.label.classes else PREDICTION
    found = pl.read_parquet(file, columns=[LEARNER, answer])
    found = found.filter(pl.col(LEARNER).is_in(of.learners.implode()))
    places = of.learners.search_sorted(found[LEARNER])
    assert isinstance(places, pl.Series), "a series was searched for"
    dtype = pl.String if recipe.label.classes else pl.Float64
    column = ColumnSample(found[answer].cast(dtype), places.to_numpy().astype(np.int64))
    return LogSample(of.learners, {answer: column}, len(found))


def _notes(allowed: Mapping[str, Threshold], old: LogSample, new: LogSample) -> list[str]:
    from components.evaluator.draws import MIN_LEARNERS

    notes = []
    if not allowed:
        notes.append(
            "the schema has no drift_comparator for any column: nothing is judged; `mastery schema "
            "infer` writes some"
        )
    for whose, sample in (("the version's data", old), ("the new data", new)):
        if len(sample.learners) < MIN_LEARNERS:
            notes.append(
                f"{whose}: expected {MIN_LEARNERS} learners or more with enough events for an "
                f"interval, found {len(sample.learners)}; nothing is judged"
            )
    return notes
