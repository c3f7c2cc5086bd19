"""What people would use instead of the network: a prior, a rule, a linear model, boosted trees.

All are fitted to the same train split and read the same context as the network, and summaries of
the same sequences. The results do not depend on the order of rows or on the number of cores.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from components.evaluator.measures import log_loss
from components.evaluator.outcome_rows import IS_COLD

if TYPE_CHECKING:
    from components.config.gates import Rule
    from components.config.training import Prior
    from components.evaluator.outcome_rows import OutcomeRows

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

# Inverse strengths of the penalty that are tried on the eval split; the one that does best is used.
PENALTIES = (0.003, 0.03, 0.3, 3.0)
LINEAR_STEPS = 300  # most steps of the optimiser

LEARNING_RATE = 0.06
ROUND = 20  # trees (for each class) that are added before the eval split is looked at
ROUNDS = 25
PATIENCE = 2  # rounds without any gain on the eval split
LEAVES = 15
LEAF_EXAMPLES = 40


class SimpleModel(Protocol):
    """A fitted model.

    Attributes:
        meaning: what it is, in a sentence.
    """

    meaning: str

    def answer(self, rows: OutcomeRows) -> Floats:
        """Returns probabilities [n, C], or numbers [n, 1] in a regression."""

    def choose(self, answers: Floats, rows: OutcomeRows) -> Ints:
        """Returns the class that is answered for each row, [n]."""


class _MostProbable:
    """Answers the class with the highest probability."""

    def choose(self, answers: Floats, rows: OutcomeRows) -> Ints:  # noqa: ARG002
        """Returns the class that is answered for each row, [n]."""
        chosen: Ints = answers.argmax(axis=1)
        return chosen


class GroupPrior(_MostProbable):
    """The mean label of the group that an outcome is in, of cold starts and of others apart.

    As in the served model: a group's mean is smoothed by that of the next wider one, which lacks
    the first of the columns, and the mean of its cold starts by that of the group. An outcome gets
    the answer of the narrowest of its groups that is in the train split.

    Args:
        rows: the train split.
        prior: its columns and smoothing.
        classes: C; 0 for a regression.
    """

    def __init__(self, rows: OutcomeRows, prior: Prior, classes: int) -> None:
        same = f" with the same {' and '.join(prior.group_by)}" * bool(prior.group_by)
        self.meaning = (
            f"The mean label of all examples{same}, of cold starts and of others apart, smoothed "
            "by that of wider groups."
        )
        one_hot = _one_hot(rows.labels, classes)
        self._mean = np.array([math.fsum(column) / len(column) for column in one_hot.T])
        self._levels: list[tuple[pl.DataFrame, pl.DataFrame]] = []

        # From wide to narrow; the first of the columns is the most open one.
        means = pl.DataFrame({_ALL: [True], _MEAN: [self._mean]})
        for start in reversed(range(len(prior.group_by) + 1)):
            columns = [_ALL, *prior.group_by[start:]]
            if start < len(prior.group_by):
                means = _smoothed(rows.groups, one_hot, columns, means, prior.smoothing)
            states = _smoothed(rows.groups, one_hot, [*columns, IS_COLD], means, prior.smoothing)
            self._levels.append((means, states))

    def answer(self, rows: OutcomeRows) -> Floats:
        """Returns the prior of each row, [n, C]."""
        answers = np.broadcast_to(self._mean, (len(rows.groups), len(self._mean))).copy()
        for tables in self._levels:
            for table in tables:
                found = _looked_up(rows.groups, table)
                known = found.is_not_null().to_numpy()
                if known.any():
                    answers[known] = _stacked(found.drop_nulls())
        priors: Floats = answers.astype(np.float32)
        return priors


_ALL, _MEAN = "\0all", "\0mean"  # no column of a log has these names


def _smoothed(
    groups: pl.DataFrame, one_hot: Floats, columns: list[str], wider: pl.DataFrame, smoothing: float
) -> pl.DataFrame:
    """Returns the mean label of each group, mixed with `smoothing` examples of the wider mean."""
    keys, sums, counts = _grouped(_with_all(groups).select(columns), one_hot)
    mixed = sums + smoothing * _stacked(_looked_up(keys, wider))
    return keys.with_columns(pl.Series(_MEAN, [*(mixed / (counts + smoothing))]))


def _looked_up(groups: pl.DataFrame, table: pl.DataFrame) -> pl.Series:
    """Returns the mean of each row's group in a table of groups; null where it is not there."""
    keys = [name for name in table.columns if name != _MEAN]
    found = _with_all(groups).select(keys)
    return found.join(table, on=keys, how="left", maintain_order="left")[_MEAN]


def _with_all(groups: pl.DataFrame) -> pl.DataFrame:
    return groups.with_columns(pl.lit(True).alias(_ALL))


def _stacked(means: pl.Series) -> Floats:
    rows: Floats = np.stack(means.to_list())
    return rows


def _grouped(keys: pl.DataFrame, one_hot: Floats) -> tuple[pl.DataFrame, Floats, Floats]:
    """Returns the distinct keys [G], the sums of the labels in each [G, C], and counts [G, 1].

    Sums are exact, so they do not depend on the order.
    """
    table = keys.with_columns(pl.Series(_MEAN, np.arange(len(keys))))
    grouped = table.group_by(keys.columns, maintain_order=True).agg(pl.col(_MEAN))
    members = [places.to_numpy() for places in grouped[_MEAN]]
    sums = [[math.fsum(column) for column in one_hot[places].T] for places in members]
    counts = np.array([[float(len(places))] for places in members])
    return grouped.drop(_MEAN), np.array(sums), counts


def _one_hot(labels: NDArray[Any], classes: int) -> Floats:
    """Returns labels as rows whose mean is a prior: [n, C], or numbers [n, 1]."""
    numbers: Floats = np.eye(classes)[labels] if classes else labels.astype(float)[:, np.newaxis]
    return numbers


class RuleOfThumb:
    """One class where a summary is above a number, another everywhere else.

    Its probabilities are the shares of the classes on either side in the train split.

    Args:
        rows: the train split.
        rule: the rule.
        classes: names of the classes.
    """

    def __init__(self, rows: OutcomeRows, rule: Rule, classes: Sequence[str]) -> None:
        self.meaning = (
            f"{rule.class_} where {rule.summary} is above {rule.above:g}, otherwise "
            f"{rule.otherwise}; probabilities are the shares on either side in the train split."
        )
        self._above = rule.above
        self._chosen = np.array([classes.index(rule.otherwise), classes.index(rule.class_)])

        is_above = self._side(rows)
        one_hot = _one_hot(rows.labels, len(classes))
        prior = (one_hot.sum(axis=0) + 1) / (len(one_hot) + len(classes))
        sides = [one_hot[is_above == side] for side in (0, 1)]
        self._shares = np.array([(side.sum(axis=0) + prior) / (len(side) + 1) for side in sides])

    def _side(self, rows: OutcomeRows) -> Ints:
        return (rows.ruled > np.float32(self._above)).astype(np.int64)

    def answer(self, rows: OutcomeRows) -> Floats:
        """Returns probabilities [n, C]."""
        shares: Floats = self._shares[self._side(rows)].astype(np.float32)
        return shares

    def choose(self, answers: Floats, rows: OutcomeRows) -> Ints:  # noqa: ARG002
        """Returns the class that is answered for each row, [n]."""
        chosen: Ints = self._chosen[self._side(rows)]
        return chosen


class LinearModel(_MostProbable):
    """Logistic regression, or ridge regression, on scaled numbers and words as indicators.

    Args:
        train: what it is fitted to.
        held_out: the eval split, which decides how strong the penalty is.
        classes: C; 0 for a regression.
        categories: how many words each column of codes has.
    """

    def __init__(
        self,
        train: OutcomeRows,
        held_out: OutcomeRows,
        classes: int,
        categories: Sequence[int],
    ) -> None:
        kind = "Logistic" if classes else "Ridge"
        self.meaning = (
            f"{kind} regression on {train.summaries.shape[1]} summaries of the sequence "
            "and on the context, with the penalty that does best on the eval split."
        )
        self._classes = classes
        self._encoder = _encoder(train, categories)
        inputs = self._encoder.fit_transform(_numbers_and_codes(train))
        checks = self._encoder.transform(_numbers_and_codes(held_out))

        best = math.inf
        for penalty in PENALTIES:
            fitted = _linear(penalty, classes, inputs, train.labels)
            loss = _loss(_probabilities(fitted, checks, classes), held_out.labels, classes)
            if loss < best:
                best, self._fitted = loss, fitted

    def answer(self, rows: OutcomeRows) -> Floats:
        """Returns probabilities [n, C], or numbers [n, 1]."""
        inputs = self._encoder.transform(_numbers_and_codes(rows))
        return _probabilities(self._fitted, inputs, self._classes)


def _linear(penalty: float, classes: int, inputs: Any, labels: NDArray[Any]) -> Any:
    if not classes:
        return Ridge(alpha=1 / penalty).fit(inputs, labels)
    with warnings.catch_warnings():
        # It may stop before the last digit, and it passes SciPy an option that is going away.
        warnings.simplefilter("ignore")
        return LogisticRegression(C=penalty, max_iter=LINEAR_STEPS).fit(inputs, labels)


def _encoder(rows: OutcomeRows, categories: Sequence[int]) -> ColumnTransformer:
    numbers = rows.summaries.shape[1] + rows.numbers.shape[1]
    words = [[*range(count)] for count in categories]
    scaled = make_pipeline(
        StandardScaler(),
        SimpleImputer(
            strategy="constant", fill_value=0.0, add_indicator=True, keep_empty_features=True
        ),
    )
    encoded = OneHotEncoder(categories=words, handle_unknown="ignore", dtype=np.float32)
    parts = [("numbers", scaled, slice(0, numbers))]
    if words:
        parts.append(("words", encoded, slice(numbers, numbers + len(words))))
    return ColumnTransformer(parts)


def _numbers_and_codes(rows: OutcomeRows) -> Floats:
    return np.concatenate([rows.summaries, rows.numbers, rows.codes.astype(np.float32)], axis=1)


class Trees(_MostProbable):
    """Gradient-boosted trees, as many as the eval split says.

    Args:
        train: what it is fitted to.
        held_out: the eval split.
        classes: C; 0 for a regression.
        seed: of the random numbers.
    """

    def __init__(self, train: OutcomeRows, held_out: OutcomeRows, classes: int, seed: int) -> None:
        self._classes = classes
        inputs, checks = _with_categories(train), _with_categories(held_out)
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        numbers = train.summaries.shape[1] + train.numbers.shape[1]
        self._fitted = kind(
            learning_rate=LEARNING_RATE,
            max_leaf_nodes=LEAVES,
            min_samples_leaf=LEAF_EXAMPLES,
            categorical_features=[*range(numbers, inputs.shape[1])],
            early_stopping=False,
            warm_start=True,
            random_state=seed,
        )

        best, self._rounds = math.inf, 0
        for done in range(1, ROUNDS + 1):
            self._fitted.set_params(max_iter=done * ROUND).fit(inputs, train.labels)
            answers = _probabilities(self._fitted, checks, classes)
            loss = _loss(answers, held_out.labels, classes)
            if loss < best:
                best, self._rounds = loss, done
            elif done - self._rounds >= PATIENCE:
                break

        self.meaning = (
            f"{self._rounds * ROUND} gradient-boosted trees{' per class' * (classes > 2)} on "
            f"{train.summaries.shape[1]} summaries of the sequence and on the context, as many as "
            "do best on the eval split."
        )

    def answer(self, rows: OutcomeRows) -> Floats:
        """Returns probabilities [n, C], or numbers [n, 1]."""
        inputs = _with_categories(rows)
        last = self._rounds * ROUND - 1
        if not self._classes:
            numbers: Floats = next(islice(self._fitted.staged_predict(inputs), last, None))
            column: Floats = numbers[:, np.newaxis]
            return column
        staged: Iterator[Floats] = self._fitted.staged_predict_proba(inputs)
        return _in_order(next(islice(staged, last, None)), self._fitted, self._classes)


def _with_categories(rows: OutcomeRows) -> Floats:
    codes = np.where(rows.codes < 0, np.nan, rows.codes).astype(np.float32)
    return np.concatenate([rows.summaries, rows.numbers, codes], axis=1)


def _probabilities(fitted: Any, inputs: Any, classes: int) -> Floats:
    if not classes:
        numbers: Floats = fitted.predict(inputs).astype(np.float32)[:, np.newaxis]
        return numbers
    return _in_order(fitted.predict_proba(inputs), fitted, classes)


def _in_order(probabilities: Floats, fitted: Any, classes: int) -> Floats:
    """Returns probabilities [n, C] of all classes; 0 for one that the train split does not have."""
    ordered = np.zeros((len(probabilities), classes), np.float32)
    ordered[:, fitted.classes_] = probabilities
    return ordered


def _loss(answers: Floats, labels: NDArray[Any], classes: int) -> float:
    if classes:
        return log_loss(labels, answers)
    return math.fsum((answers[:, 0].astype(np.float64) - labels) ** 2)
