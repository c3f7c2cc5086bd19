"""How sure an answer is: sets of classes, or intervals, that hold the truth as often as promised.

Split conformal prediction (Papadopoulos et al., 2002; Vovk et al., 2005). An example conforms to a
class by the class's probability, to a number by how close the prediction is (Sadinle et al., 2019).
Of the eval examples of a class, the promised share conforms at least as well as a threshold; a set
has all classes to which an example conforms that well.

Thresholds are those of cells (Mondrian, Vovk et al., 2003): of a class within a group of
`prior.group_by`, with cold starts, which the prior answers, apart from others. So the promise holds
in each cell on its own. A cell with fewer than `min_examples` shares the threshold of a wider
group, for which the promise then holds on average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from components.contracts.calibration import ConformalCell, ConformalThresholds
from components.contracts.names import (
    ANSWER_TEXT,
    BASIS_PRIOR,
    BASIS_SEQUENCE,
    NOT_SURE,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
)
from components.contracts.uncertainty_results import most_classes_said
from components.trainer.answer_parts import Fitted
from components.trainer.groups import GroupTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.trainer.answer_parts import Answered, Evidence

KINDS = (BASIS_SEQUENCE, BASIS_PRIOR)  # of answers: they have cells of their own
UNBOUNDED = float(np.finfo(np.float32).max)  # the end of an interval without one; JSON has no Inf
NO_GROUP = -1  # no hash is negative


def fit_conformal(evidence: Evidence) -> Fitted:
    """Returns what answers sets of classes, or intervals in a regression."""
    settings, found = evidence.settings, evidence.answers
    names = settings.label.classes
    if names:
        members = [
            Members(name, found.labels == index, found.answers[:, index])
            for index, name in enumerate(names)
        ]
    else:
        labels = found.labels.astype(np.float64)
        distances = np.abs(found.answers[:, 0] - labels)
        members = [Members("", np.ones(len(distances), bool), -distances)]

    thresholds = fit_thresholds(
        found.groups,
        found.is_cold,
        members,
        columns=settings.prior.group_by,
        coverage=settings.uncertainty.coverage,
        min_examples=settings.uncertainty.min_examples,
    )
    record = ConformalThresholds(
        coverage=settings.uncertainty.coverage,
        groups=thresholds.table.count,
        cells=thresholds.cells,
    )
    part = PredictionSets(thresholds, names) if names else PredictionIntervals(thresholds)
    return Fitted(part, {"conformal": record})


class Members(NamedTuple):
    """The examples that the thresholds of a class are fitted to.

    Attributes:
        name: of the class; "" in a regression.
        chosen: which of N examples, bool [N].
        conformity: how well each of the N conforms to the class, float [N]; higher is better.
    """

    name: str
    chosen: NDArray[np.bool_]
    conformity: NDArray[np.floating]


@dataclass(frozen=True)
class Thresholds:
    """The lowest conformity that is in the set, by kind of answer, group and class.

    Attributes:
        table: the groups.
        values: float32 [2, G, C], kinds as in `KINDS`; minus infinity: always in the set.
        cells: what each was fitted to.
    """

    table: GroupTable
    values: NDArray[np.float32]
    cells: list[ConformalCell]

    def of(self, groups: NDArray[np.int64], is_cold: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Returns the thresholds [N, C] of examples, for tests and tools."""
        values: NDArray[np.float32] = self.in_graph(tf.constant(groups), tf.constant(is_cold))
        return np.asarray(values)

    def in_graph(self, groups: tf.Tensor, is_cold: tf.Tensor) -> tf.Tensor:
        """Returns the same for tensors [B, L] and [B], in a graph that is being traced."""
        index = self.table.index_in_graph(groups)
        row = index + tf.cast(is_cold, tf.int64) * self.table.count
        return tf.gather(tf.constant(self.values.reshape(-1, self.values.shape[-1])), row)


def lowest_conformity(conformity: NDArray[np.floating], coverage: float) -> float:
    """Returns the threshold that a new example reaches with a probability of at least `coverage`.

    It is the k-th highest of n conformities, k = ceil((n + 1) * coverage): the new example is as
    likely at each of the n + 1 ranks. With too few examples, k > n, only minus infinity will do.

    >>> lowest_conformity(np.arange(19.0), 0.9)  # the 18th highest of 19
    1.0
    >>> lowest_conformity(np.arange(8.0), 0.9)
    -inf
    """
    count = len(conformity)
    rank = math.ceil((count + 1) * coverage - 1e-9)  # 110 * 0.9 is more than 99 in binary
    if rank > count:
        return -math.inf
    return float(np.partition(conformity, count - rank)[count - rank])


def fit_thresholds(
    groups: NDArray[np.int64],
    is_cold: NDArray[np.bool_],
    members: Sequence[Members],
    *,
    columns: Sequence[str],
    coverage: float,
    min_examples: int,
) -> Thresholds:
    """Returns the thresholds of all cells.

    Args:
        groups: hashes of the groups of each example [N, L]; see `GroupTable`.
        is_cold: whether its answer is a prior [N].
        members: the examples of each class.
        columns: those that make a group, for the record.
        coverage: share of each cell that reaches its threshold.
        min_examples: the fewest examples of a class that give a group a threshold of its own.
    """
    cells = [
        [
            _Cells.of(groups[rows], item.conformity[rows], coverage, min_examples)
            for item in members
            for rows in [item.chosen & (is_cold == (kind == BASIS_PRIOR))]
        ]
        for kind in KINDS
    ]

    tables = [cell.table for of_kind in cells for cell in of_kind]
    *narrow, _ = zip(*(table.known for table in tables), strict=True)
    known = [np.unique(np.concatenate(level)) for level in narrow]
    table = GroupTable((*known, groups[:1, -1]))

    asked = _one_of_each(table, groups)
    values = np.stack([[cell.lowest(asked) for cell in of_kind] for of_kind in cells])
    record = [
        line
        for kind, of_kind in zip(KINDS, cells, strict=True)
        for item, cell in zip(members, of_kind, strict=True)
        for line in cell.record(kind, item.name, columns)
    ]
    return Thresholds(table, values.transpose(0, 2, 1).astype(np.float32), record)


@dataclass(frozen=True)
class _Cells:
    """The cells of one class and kind of answer.

    Attributes:
        table: the groups with enough examples of the class.
        counts: how many examples the threshold of each cell is fitted to.
        thresholds: of each cell.
    """

    table: GroupTable
    counts: list[int]
    thresholds: list[float]

    @classmethod
    def of(
        cls,
        groups: NDArray[np.int64],
        conformity: NDArray[np.floating],
        coverage: float,
        min_examples: int,
    ) -> _Cells:
        table = GroupTable.of(groups, min_examples=min_examples)
        index = table.index(groups) if len(groups) else np.zeros(0, np.int64)
        counts, thresholds = [], []
        cell = 0
        for level, known in enumerate(table.known):
            for group in known:
                # Those that no narrower group takes; if they are few, all examples of the group.
                rows = index == cell
                if rows.sum() < min_examples:
                    rows = groups[:, level] == group
                counts.append(int(rows.sum()))
                thresholds.append(lowest_conformity(conformity[rows], coverage))
                cell += 1
        return cls(table, counts, thresholds)

    def lowest(self, groups: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns the threshold for each of some examples [G, L]; none without any example."""
        if not self.thresholds:
            return np.full(len(groups), -math.inf)
        return np.array(self.thresholds)[self.table.index(groups)]

    def record(self, kind: str, class_: str, columns: Sequence[str]) -> list[ConformalCell]:
        """Returns a line per cell."""
        levels = [level for level, known in enumerate(self.table.known) for _ in known]
        return [
            ConformalCell(
                basis=kind,
                class_=class_,
                grouped_by=[*columns[level:]],
                examples=count,
                threshold=None if math.isinf(threshold) else threshold,
            )
            for level, count, threshold in zip(levels, self.counts, self.thresholds, strict=True)
        ]


def _one_of_each(table: GroupTable, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns an example [G, L] of each group that is in no narrower group of the table."""
    found = []
    for level, known in enumerate(table.known):
        for group in known:
            example = groups[np.argmax(groups[:, level] == group)].copy()
            example[:level] = NO_GROUP
            found.append(example)
    return np.array(found)


@dataclass(frozen=True)
class PredictionSets:
    """Answers which classes may be true, and in words how sure that is.

    The most probable class is always in the set. An empty set would say nothing, and one without
    the class that is predicted would contradict it; coverage only rises.
    """

    thresholds: Thresholds
    classes: Sequence[str]

    def outputs(self, answered: Answered) -> dict[str, tf.Tensor]:
        """Returns `prediction_set` [B, C] and `answer_text` [B]."""
        count = len(self.classes)
        best = tf.one_hot(tf.argmax(answered.answer, axis=1), count, True, False, dtype=tf.bool)
        lowest = self.thresholds.in_graph(answered.groups, answered.is_cold)
        chosen = (answered.answer >= lowest) | best

        size = tf.reduce_sum(tf.cast(chosen, tf.int32), axis=1)
        words = joined_names(chosen, self.classes, " or ")
        text = tf.where(size > most_classes_said(count), NOT_SURE, words)
        return {PREDICTION_SET: chosen, ANSWER_TEXT: text}


@dataclass(frozen=True)
class PredictionIntervals:
    """Answers between which two numbers the truth is."""

    thresholds: Thresholds

    def outputs(self, answered: Answered) -> dict[str, tf.Tensor]:
        """Returns `prediction_interval` [B, 2]; `UNBOUNDED` where too few examples bound it."""
        reach = -self.thresholds.in_graph(answered.groups, answered.is_cold)
        ends = tf.concat([answered.answer - reach, answered.answer + reach], axis=1)
        return {PREDICTION_INTERVAL: tf.clip_by_value(ends, -UNBOUNDED, UNBOUNDED)}


def joined_names(chosen: tf.Tensor, names: Sequence[str], separator: str) -> tf.Tensor:
    """Returns the names chosen in each row, bool [B, N], as one text [B].

    >>> joined_names(tf.constant([[True, False, True]]), ["a", "b", "c"], " or ").numpy().tolist()
    [b'a or c']
    """
    parts = tf.where(chosen, tf.constant([separator + name for name in names]), "")
    text = tf.strings.reduce_join(parts, axis=1)
    return tf.strings.regex_replace(text, f"^{separator}", "")
