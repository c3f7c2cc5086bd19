"""Reads examples as rows of numbers, one per outcome: what the simple models are fitted to.

An example holds one sequence, and one outcome or several along it (`steps.shared`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from numpy.typing import NDArray
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.config.summaries import MOST_WORDS, counts_words
from components.config.training import Categorical, Numeric
from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, STEP_UNIT, UNIT
from components.evaluator.judged_split import is_sampled
from components.evaluator.scoring import as_text, check_label, class_indices, windows_of_split
from components.transform.learned import MISSING_ID, tamed
from components.transform.summaries import SummaryPlan, squashed, summarise

if TYPE_CHECKING:
    from components.config.training import Feature
    from components.evaluator.evaluator_settings import EvaluatorSettings

MOST_ROWS = 500_000  # outcomes that are fitted to; of more, those of a sample of learners
MOST_CATEGORIES = 255  # of a column, which is what scikit-learn's trees can tell apart
IS_COLD = "\0cold"  # no column of a log has this name
BATCH = 1024  # examples that are summarised at once

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Words = dict[str, list[str]]


@dataclass(frozen=True)
class Vocabulary:
    """What the train split holds.

    Attributes:
        steps: the words of each step feature whose words are counted, the most frequent first.
        context: the same of categorical context columns; other words count as missing.
        outcomes: how many there are.
    """

    steps: Words
    context: Words
    outcomes: int

    @property
    def share(self) -> float:
        """The share of learners that is read, so that there are about `MOST_ROWS` outcomes."""
        return min(1.0, MOST_ROWS / max(self.outcomes, 1))


@dataclass(frozen=True)
class OutcomeRows:
    """Outcomes as rows of numbers.

    Attributes:
        summaries: of the steps seen, in logarithms where they have tails, [n, S]; NaN is missing.
        numbers: columns of the context, clipped and in logarithms as configured, [n, M].
        codes: places of words in the vocabulary, [n, Q]; -1 for missing and unknown words.
        groups: the columns of `prior.group_by` as text, "" for missing ones; and `IS_COLD`, whether
            an outcome has fewer than `steps.min_steps` events.
        ruled: the number that the rule reads, as it is, [n]; NaN without a rule.
        labels: indices of classes, or numbers, [n].
        keys: learner, unit and `as_of`.
    """

    summaries: Floats
    numbers: Floats
    codes: Ints
    groups: pl.DataFrame
    ruled: Floats
    labels: NDArray[Any]
    keys: pl.DataFrame

    def take(self, places: NDArray[Any]) -> OutcomeRows:
        """Returns some of the rows: those at places, or those where a mask holds."""
        if places.dtype == np.bool_:
            places = np.flatnonzero(places)
        columns: dict[str, Any] = {
            field.name: getattr(self, field.name)[places] for field in fields(self)
        }
        return OutcomeRows(**columns)

    @classmethod
    def join(cls, parts: Sequence[OutcomeRows]) -> OutcomeRows:
        """Returns the rows of some parts, one after the other."""
        columns: dict[str, Any] = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            is_table = isinstance(values[0], pl.DataFrame)
            columns[field.name] = pl.concat(values) if is_table else np.concatenate(values)
        return cls(**columns)


class OutcomeReader:
    """Reads the examples of a split as rows.

    Args:
        settings: the Evaluator's part of the configuration.
        vocabulary: what the train split holds.
    """

    def __init__(self, settings: EvaluatorSettings, vocabulary: Vocabulary) -> None:
        self._settings = settings
        self._vocabulary = vocabulary
        self._plan = SummaryPlan(settings.steps, settings.context, vocabulary.steps)
        rule = settings.evaluation.rule
        self._ruled = self._plan.names.index(rule.summary) if rule else None
        self._summarise = tf.function(self._summaries, autograph=False, reduce_retracing=True)

    @property
    def names(self) -> list[str]:
        """The names of the summaries, in the order of their columns."""
        return self._plan.names

    def read_all(self, split: Path, *, share: float = 1.0) -> OutcomeRows:
        """Reads the outcomes of a sample of learners of a split, in the order of their keys.

        Args:
            split: folder of the train or eval split.
            share: of learners, chosen by a hash of their ids.
        """
        parts = []
        for window in windows_of_split(split):
            rows = self.read(window, shared=self._settings.steps.shared)
            parts.append(rows if share == 1 else rows.take(is_sampled(rows.keys[LEARNER], share)))

        rows = OutcomeRows.join(parts)
        order = pl.arg_sort_by(rows.keys.columns, maintain_order=True)
        return rows.take(rows.keys.select(order).to_series().to_numpy())

    def read(self, window: list[bytes], *, shared: bool = False) -> OutcomeRows:
        """Reads serialized examples; the outcomes of an example stand one after the other.

        Args:
            window: the examples.
            shared: whether an example may hold several outcomes.

        Raises:
            MasteryError: a label is missing or unknown.
        """
        settings = self._settings
        columns = _Columns(window, shared=shared)
        labels = check_label(columns.outcome(settings.label.column), settings.label)
        if settings.label.classes:
            values: NDArray[Any] = class_indices(labels, settings.label.classes)
        else:
            values = labels.to_numpy()

        seen = columns.outcome(NUM_STEPS).fill_null(0).cast(pl.Int64).to_numpy()
        raw, scaled = self._all_summaries(columns, seen)
        context = settings.context
        numbers = [
            _number(columns.outcome(name), feature)
            for name, feature in context.items()
            if isinstance(feature, Numeric)
        ]
        codes = [
            _codes(as_text(columns.outcome(name)), words)
            for name, words in self._vocabulary.context.items()
        ]
        keys = [columns.outcome(name).alias(name) for name in (LEARNER, UNIT, AS_OF)]
        groups = [as_text(columns.outcome(name)).alias(name) for name in settings.prior.group_by]
        groups.append(pl.Series(IS_COLD, seen < settings.steps.min_steps))
        count = len(seen)
        return OutcomeRows(
            summaries=scaled,
            numbers=np.stack(numbers, axis=1) if numbers else np.zeros((count, 0), np.float32),
            codes=np.stack(codes, axis=1) if codes else np.zeros((count, 0), np.int64),
            groups=pl.DataFrame(groups),
            ruled=np.full(count, np.nan) if self._ruled is None else raw[:, self._ruled],
            labels=values,
            keys=pl.DataFrame(keys),
        )

    def _all_summaries(self, columns: _Columns, seen: Ints) -> tuple[Floats, Floats]:
        """Returns summaries [n, S] as they are, and squashed.

        Sequences of similar length share a batch, which is padded to its longest.
        """
        steps = self._encoded(columns)
        unit = self._unit_ids(columns)
        lengths = columns.lengths(next(iter(steps)))
        by_length = np.argsort(lengths, kind="stable")
        rank = np.empty_like(by_length)
        rank[by_length] = np.arange(len(rank))
        ranks = rank[columns.example_of]  # of each outcome's example

        raw = np.zeros((len(seen), len(self._plan.names)), np.float32)
        scaled = np.zeros_like(raw)
        for start in range(0, len(lengths), BATCH):
            chosen = by_length[start : start + BATCH]
            outcomes = np.flatnonzero((ranks >= start) & (ranks < start + BATCH))
            ragged = {
                name: tf.RaggedTensor.from_row_lengths(
                    values.take(chosen).flatten().to_numpy(), lengths[chosen]
                )
                for name, values in steps.items()
            }
            found, squashed_ones = self._summarise(
                ragged,
                tf.constant(ranks[outcomes] - start, tf.int64),
                tf.constant(seen[outcomes], tf.int64),
                tf.constant(unit[outcomes], tf.int64),
            )
            raw[outcomes], scaled[outcomes] = found.numpy(), squashed_ones.numpy()
        return raw, scaled

    def _summaries(
        self,
        steps: Mapping[str, tf.RaggedTensor],
        rows: tf.Tensor,
        seen: tf.Tensor,
        unit: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        asked = unit if self._plan.asks_for_unit else None
        found = summarise(self._plan, steps, rows, seen, asked)
        return found, squashed(self._plan, found)

    def _encoded(self, columns: _Columns) -> dict[str, pa.Array]:
        """Returns the steps as lists, words as ids."""
        encoded = {}
        for name, feature in self._settings.steps.features.items():
            flat = columns.steps(name)
            if isinstance(feature, Categorical):
                words = self._vocabulary.steps.get(name)
                known = pc.unique(flat) if words is None else pa.array(words, flat.type)
                encoded[name] = columns.as_lists(name, _word_ids(flat, known))
            else:
                encoded[name] = columns.as_lists(name, flat.cast(pa.float32()))
        return encoded

    def _unit_ids(self, columns: _Columns) -> Ints:
        """Returns the outcomes' units by the ids of their steps' units, [n]; 0 where unused."""
        if not self._plan.asks_for_unit:
            return np.zeros(len(columns.example_of), np.int64)
        known = pc.unique(columns.steps(STEP_UNIT))
        units = as_text(columns.outcome(UNIT)).cast(pl.Binary).to_arrow()
        ids: Ints = _word_ids(units.cast(known.type), known).to_numpy()
        return ids


class _Columns:
    """The columns of some examples.

    Attributes:
        example_of: the place of each outcome's example, [n].
    """

    def __init__(self, window: list[bytes], *, shared: bool) -> None:
        batch = ExamplesToRecordBatchDecoder().DecodeBatch(window)
        self._lists = dict(zip(batch.schema.names, batch.columns, strict=True))
        self._examples = len(window)
        counts = self.lengths(NUM_STEPS) if shared else np.ones(len(window), np.int64)
        self.example_of = np.repeat(np.arange(len(window)), counts)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        self._place = np.arange(len(self.example_of)) - starts  # among those of its example

    def lengths(self, name: str) -> Ints:
        """Returns how many values each example has, 0 where the column is absent, [B]."""
        if not self._has(name):
            return np.zeros(self._examples, np.int64)
        lengths: Ints = pc.fill_null(pc.list_value_length(self._lists[name]), 0).to_numpy()
        return lengths.astype(np.int64)

    def steps(self, name: str) -> pa.Array:
        """Returns the values of a step feature, of all examples; no value if it is absent."""
        return self._lists[name].flatten() if self._has(name) else pa.array([], pa.large_binary())

    def as_lists(self, name: str, values: pa.Array) -> pa.Array:
        """Returns other values in place of a step feature's, as one list per example."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths(name))])
        return pa.LargeListArray.from_arrays(pa.array(offsets), values)

    def outcome(self, name: str) -> pl.Series:
        """Returns a column of outcomes, [n]; null where a value is missing."""
        if not self._has(name):
            return pl.Series(name, [None] * len(self.example_of), pl.String)

        lengths = self.lengths(name)
        offsets = np.cumsum(lengths) - lengths
        # The learner is one value for all outcomes of an example.
        place = np.zeros_like(self._place) if name == LEARNER else self._place
        there = place < lengths[self.example_of]
        indices = pa.array(offsets[self.example_of] + place, mask=~there)

        column = pl.Series(name, self._lists[name].flatten().take(indices))
        if column.dtype == pl.Binary:
            return column.cast(pl.String)
        return column.fill_nan(None) if column.dtype.is_float() else column

    def _has(self, name: str) -> bool:
        return name in self._lists and not pa.types.is_null(self._lists[name].type)


def learn_vocabulary(split: Path, settings: EvaluatorSettings) -> Vocabulary:
    """Counts the outcomes and words of the train split; words that are equally frequent by name."""
    steps: dict[str, Counter[str]] = {}
    context: dict[str, Counter[str]] = {}
    outcomes = 0
    for window in windows_of_split(split):
        columns = _Columns(window, shared=settings.steps.shared)
        outcomes += len(columns.example_of)
        for name, feature in settings.steps.features.items():
            if counts_words(name, feature):
                words = pl.Series(columns.steps(name)).cast(pl.String)
                steps.setdefault(name, Counter()).update(_counted(words))
        for name, feature in settings.context.items():
            if isinstance(feature, Categorical):
                words = as_text(columns.outcome(name))
                context.setdefault(name, Counter()).update(_counted(words))

    features = {**settings.steps.features, **settings.context}
    return Vocabulary(
        steps={name: _top(words, features[name], MOST_WORDS) for name, words in steps.items()},
        context={
            name: _top(words, features[name], MOST_CATEGORIES) for name, words in context.items()
        },
        outcomes=outcomes,
    )


def _counted(words: pl.Series) -> dict[str, int]:
    counts = words.rename("word").value_counts()
    return {word: count for word, count in counts.iter_rows() if word}


def _top(words: Counter[str], feature: Feature, most: int) -> list[str]:
    assert isinstance(feature, Categorical)
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return [word for word, _ in ranked[: min(most, feature.vocabulary)]]


def _word_ids(words: pa.Array, known: pa.Array) -> pa.Array:
    """Returns ids int64: the place among the known words from 1, above for others, 0 for ""."""
    ids = pc.fill_null(pc.index_in(words, known), len(known)).cast(pa.int64())
    is_missing = pc.equal(words, pa.scalar(b"", words.type))
    return pc.if_else(is_missing, MISSING_ID, pc.add(ids, 1))


def _number(column: pl.Series, feature: Numeric) -> Floats:
    values = column.cast(pl.Float32).fill_null(float("nan")).to_numpy()
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    numbers: Floats = tamed(tf.constant(values), feature).numpy()
    return numbers


def _codes(column: pl.Series, words: list[str]) -> Ints:
    places = pl.Series(words, dtype=pl.String)
    codes = pc.index_in(column.to_arrow(), places.to_arrow())
    found: Ints = pc.fill_null(codes, -1).to_numpy()
    return found.astype(np.int64)
