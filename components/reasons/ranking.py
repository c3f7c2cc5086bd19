"""Which features speak for an answer, in which direction, where, and in whose words.

A pure function of what the signatures `explain` and `explain_steps` answer and of the learner's own
steps: no model is asked here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts.names import (
    ATTRIBUTIONS,
    BASIS,
    BASIS_PRIOR,
    DIRECTIONS,
    EXPLAINED_FEATURES,
    PREDICTION,
    STEP_ATTRIBUTIONS,
    TYPICAL_ANSWER,
    UNIT,
)
from components.errors import MasteryError
from components.reasons.wording import Finding

if TYPE_CHECKING:
    import polars as pl

    from components.config.root import Config
    from components.reasons.sentences import Direction
    from components.reasons.wording import Wording

Array = np.ndarray[Any, Any]
Word = str | None
Steps = Mapping[str, Sequence[Any]]  # of one learner: values by feature, oldest first

MOST = 0.5  # more of a feature than this has to lie in the steps of one word to name it
_WEIGHT_DIGITS = 4


@dataclass(frozen=True)
class Reason:
    """Why an answer is as it is.

    Attributes:
        feature: its name in the configuration.
        direction: `high` or `low`, of a number against the typical one; `word` of a categorical
            feature; `missing` where nothing is recorded; `course` where a number is as usual on
            average, but at other times.
        weight: what it adds to the answer: to the class's probability, or to the predicted number.
        text: a sentence by language.
        value: the word that adds most, of a categorical feature.
        where: the word in whose steps most of it lies, if there is one.
    """

    feature: str
    direction: Direction
    weight: float
    text: Mapping[str, str] = field(default_factory=dict)
    value: Word = None
    where: Word = None

    def as_json(self) -> dict[str, Any]:
        """Returns it as it is stored and sent; without what it does not have.

        >>> Reason("correct", "low", 0.12345, {"en": "few"}).as_json()
        {'feature': 'correct', 'direction': 'low', 'weight': 0.1235, 'text': {'en': 'few'}}
        """
        said = {"value": self.value, "where": self.where}
        return {
            "feature": self.feature,
            "direction": self.direction,
            "weight": round(self.weight, _WEIGHT_DIGITS),
            "text": dict(self.text),
            **{key: word for key, word in said.items() if word is not None},
        }


@dataclass(frozen=True)
class AnswerReasons:
    """The reasons of one answer, each list the greatest first.

    Attributes:
        towards: those that speak for it.
        against: those that speak against it.
    """

    towards: Sequence[Reason] = ()
    against: Sequence[Reason] = ()


@dataclass(frozen=True)
class Asked:
    """What a learner's own columns say, as they were sent to the model.

    Attributes:
        steps: values of the last steps by feature, oldest first; numbers or text.
        context: the columns beside the steps.
        unit: what the answer is about, if it is known.
    """

    steps: Steps
    context: Mapping[str, Any] = field(default_factory=dict)
    unit: str | None = None


def asked_in(joined: pl.DataFrame, config: Config) -> list[Asked]:
    """Returns the rows of a join (`components.example_gen.encoding.join_batches`), in its order."""
    steps, context = [*config.steps.features], [*config.context]
    columns = [*dict.fromkeys([*steps, *context, UNIT])]
    return [
        Asked(
            {name: row[name] for name in steps},
            {name: row[name] for name in context},
            row[UNIT],
        )
        for row in joined.select(columns).iter_rows(named=True)
    ]


def find_reasons(
    outputs: Mapping[str, Any], asked: Sequence[Asked], wording: Wording
) -> list[AnswerReasons]:
    """Returns the reasons of each of B answers; a cold start has none.

    In a classification, what adds to the probability of the explained class speaks for the answer.
    In a regression, what moves the number away from the typical one, to where the answer is.

    Args:
        outputs: of `explain` or `explain_steps`: `explained_features` [B, N], `attributions`
            [B, N], `directions` [B, N], `step_attributions` [B, T, S] and `basis` [B]; of a
            regression also `prediction` and `typical_answer` [B].
        asked: B learners as they were asked about, in the same order.
        wording: the words, and how many reasons there are at most.

    Raises:
        MasteryError: the outputs do not fit one another or the learners, or are no finite numbers.
    """
    if not asked:
        return []
    explained = _Explained.of(outputs, len(asked))
    return [
        _Row(explained, row, one, wording).reasons()
        if explained.has_reasons[row]
        else AnswerReasons()
        for row, one in enumerate(asked)
    ]


@dataclass(frozen=True)
class _Explained:
    """The outputs as arrays; see `find_reasons`.

    Attributes:
        sign: 1 where what adds speaks for the answer, -1 where what subtracts does [B].
        has_reasons: false for cold starts [B].
    """

    features: list[str]
    attributions: Array
    directions: Array
    steps: Array
    sign: Array
    has_reasons: Array

    @classmethod
    def of(cls, outputs: Mapping[str, Any], count: int) -> _Explained:
        needed = (EXPLAINED_FEATURES, ATTRIBUTIONS, DIRECTIONS, STEP_ATTRIBUTIONS, BASIS)
        if lacking := [name for name in needed if name not in outputs]:
            raise MasteryError(
                f"expected an answer with its reasons, found none of {', '.join(lacking)}: the "
                "version cannot explain its answers; push one with explain.enabled: true."
            )
        features = [_text(name) for name in np.asarray(outputs[EXPLAINED_FEATURES])[0]]
        attributions = np.asarray(outputs[ATTRIBUTIONS], np.float64)
        directions = np.asarray(outputs[DIRECTIONS], np.float64)
        steps = np.asarray(outputs[STEP_ATTRIBUTIONS], np.float64)

        shape = (count, len(features))
        fits = attributions.shape == directions.shape == shape and steps.ndim == 3
        if not fits or steps.shape[0] != count or steps.shape[2] > len(features):
            raise MasteryError(
                f"expected attributions of {shape[0]} answers and {shape[1]} features, found "
                f"{attributions.shape}, directions {directions.shape} and steps {steps.shape}."
            )
        if not (np.isfinite(attributions).all() and np.isfinite(steps).all()):
            raise MasteryError("expected attributions that are finite numbers, found others.")

        basis = [_text(value) for value in outputs[BASIS]]
        has_reasons = np.array([value != BASIS_PRIOR for value in basis])
        return cls(features, attributions, directions, steps, _signs(outputs, count), has_reasons)


def _signs(outputs: Mapping[str, Any], count: int) -> Array:
    if PREDICTION not in outputs:
        return np.ones(count)
    predicted = np.asarray(outputs[PREDICTION], np.float64).reshape(-1)
    typical = np.asarray(outputs[TYPICAL_ANSWER], np.float64).reshape(-1)
    return np.where(predicted < typical, -1.0, 1.0)


class _Row:
    """One answer and what its features add to it."""

    def __init__(self, explained: _Explained, row: int, asked: Asked, wording: Wording) -> None:
        self._features = explained.features
        self._added = explained.attributions[row]
        self._sign = explained.sign[row]
        self._directions = explained.directions[row]
        self._asked = asked
        self._wording = wording

        # The model reads the last steps of longer sequences; the rest of a row is padding.
        most = explained.steps.shape[1]
        self._steps = {name: values[-most:] for name, values in asked.steps.items()}
        length = max((len(values) for values in self._steps.values()), default=0)
        self._by_step = explained.steps[row, :length]  # [t, S]

    def reasons(self) -> AnswerReasons:
        """Returns those for and those against, each greatest first."""
        towards, against = (self._greatest(way) for way in (self._sign, -self._sign))
        return AnswerReasons([*towards], [*against])

    def _greatest(self, way: float) -> Iterator[Reason]:
        """Yields the features that add most in one way, without small ones."""
        pushes = np.maximum(way * self._added, 0.0)
        whole = pushes.sum()
        order = np.lexsort((self._features, -pushes))
        for place in order[: self._wording.reasons.top]:
            if pushes[place] > 0 and pushes[place] >= self._wording.reasons.smallest * whole:
                yield self._reason(int(place), way)

    def _reason(self, place: int, way: float) -> Reason:
        feature = self._features[place]
        value = self._value(place, way)
        direction = self._direction(place, value)
        where = self._where(place, way)
        finding = Finding(feature, direction, value, where, self._asked.unit)
        return Reason(
            feature,
            direction,
            float(self._added[place]),
            self._wording.texts(finding),
            value=value if isinstance(value, str) else None,
            where=where,
        )

    def _direction(self, place: int, value: float | Word) -> Direction:
        if isinstance(value, str):
            return "word"
        feature = self._features[place]
        if value is None and (feature in self._steps or feature in self._asked.context):
            return "missing"
        above = self._directions[place]
        return "high" if above > 0 else "low" if above < 0 else "course"

    def _value(self, place: int, way: float) -> float | Word:
        """Returns the mean of a number, or the word that adds most; None if it is missing."""
        feature = self._features[place]
        if feature not in self._steps:
            return _present(self._asked.context.get(feature))
        values = [_present(value) for value in self._steps[feature]]
        if any(isinstance(value, str) for value in values):
            return self._greatest_word(values, way * self._by_step[:, place])[0]
        numbers = [value for value in values if isinstance(value, float)]
        return float(np.mean(numbers)) if numbers else None

    def _where(self, place: int, way: float) -> Word:
        """Returns the word of another feature in whose steps most of a feature lies."""
        feature = self._features[place]
        other = self._wording.where_of(feature)
        if other is None or feature not in self._steps or other not in self._steps:
            return None
        words = [_present(value) for value in self._steps[other]]
        pushes = way * self._by_step[:, place]
        word, added = self._greatest_word(words, pushes)
        return word if added > MOST * way * self._added[place] else None

    @staticmethod
    def _greatest_word(words: Sequence[float | Word], pushes: Array) -> tuple[Word, float]:
        """Returns the word whose steps add most together, and how much; the first of equal ones."""
        added: dict[Word, float] = defaultdict(float)
        for word, push in zip(words, pushes, strict=True):
            added[None if word is None else str(word)] += float(push)
        if not added:
            return None, 0.0
        return max(added.items(), key=lambda item: item[1])


def _present(value: Any) -> float | Word:
    """Returns a value as a number or text; None if it is missing."""
    if isinstance(value, bytes):
        value = value.decode()
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    number = float(value)
    return None if math.isnan(number) else number


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
