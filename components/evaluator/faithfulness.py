"""Whether reasons hold: against the model that gives them, and against a log whose truth is known.

Taking out the events that speak most for an answer has to change it more than taking out as many at
random ("comprehensiveness": DeYoung et al., ERASER, 2020). And on a log of `mastery simulate` the
features that are named have to be those that drove the exact answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.contracts.importance_results import Removal, TrueDrivers
from components.contracts.names import (
    CLASSES,
    EXAMPLES,
    NUM_STEPS,
    PREDICTION,
    PROBABILITIES,
    SERVING_DEFAULT,
    TIME_SINCE_PREVIOUS,
    TIME_TO_AS_OF,
)
from components.errors import MasteryError
from components.evaluator.draws import DrawnMeans
from components.evaluator.loaded_signature import load_signature
from components.simulator import learner_model as simulator
from components.simulator.posterior import OBSERVED, true_effects
from components.simulator.sequences import Sequences

if TYPE_CHECKING:
    from components.evaluator.draws import Floats
    from components.evaluator.evaluator_settings import EvaluatorSettings
    from components.evaluator.explained import Chosen, Explanations

SHARE = 0.2  # of the events of a sequence that are taken out
RANDOM_CUTS = 5  # random choices of events for each sequence
TOP = 3  # features that count as named, and as true drivers
SEED = 1  # of the random cuts
BATCH = 1024  # cut examples that the model answers at once

_COMPONENT, _JOB_LEVEL = "knowledge_component", "job_level"
_JOB_LEVELS = [name for name in simulator.ATTRIBUTES[_JOB_LEVEL] if name is not None]

Ints = NDArray[np.int64]
Parsed = Any  # tf.train.Example


def measure_removal(
    model: Path,
    chosen: Chosen,
    explained: Mapping[str, Explanations],
    settings: EvaluatorSettings,
) -> Removal | None:
    """Takes events out of the examples and asks again; None if all sequences are too short.

    Of every example the probability of its most probable class is watched; in a regression the
    answer itself, whichever way it moves.

    Args:
        model: a SavedModel.
        chosen: n examples.
        explained: their explanations by class; by "" in a regression.
        settings: the features of steps, and how many steps an answer needs.
    """
    answered = answered_classes(explained)
    names, random = [*settings.steps.features], np.random.default_rng(SEED)
    fewest, longest = max(settings.steps.min_steps, 1), settings.steps.max_steps

    rows: list[int] = []
    cuts: list[list[bytes]] = []
    for row, example in enumerate(chosen.examples):
        parsed = tf.train.Example.FromString(example)
        steps = min(_length(parsed, names[0]), longest)
        count = min(math.ceil(SHARE * steps), steps - fewest)
        if count < 1:
            continue
        scores = explained[answered[row]].of_steps[row][:steps].sum(axis=1)
        if not settings.label.classes:
            scores = np.abs(scores)
        choices = [np.argsort(-scores, kind="stable")[:count]]
        choices += [random.choice(steps, count, replace=False) for _ in range(RANDOM_CUTS)]
        rows.append(row)
        cuts.append([_without(parsed, names, choice, longest) for choice in choices])
    if not rows:
        return None

    before = [float(explained[answered[row]].answers[row]) for row in rows]
    after = _answers(model, [cut for row in cuts for cut in row], [answered[row] for row in rows])
    falls = np.array(before)[:, None] - after
    if not settings.label.classes:
        falls = np.abs(falls)

    named, at_random = falls[:, 0], falls[:, 1:].mean(axis=1)
    rules = settings.evaluation
    means = DrawnMeans(chosen.learners[rows], draws=rules.draws, confidence=rules.confidence)
    return Removal(
        examples=len(rows),
        share=SHARE,
        named=float(named.mean()),
        random=float(at_random.mean()),
        gain=float((named - at_random).mean()),
        interval=means.interval(named - at_random),
    )


def compare_with_simulator(
    chosen: Chosen, explained: Mapping[str, Explanations], settings: EvaluatorSettings
) -> TrueDrivers:
    """Compares the features that are named with those that drove the exact answer.

    The exact answer is that of `components.simulator.posterior`. A feature drove it towards a class
    if the class would be less probable were the feature missing in every event.

    Args:
        chosen: n examples of a simulated log.
        explained: their explanations by class.
        settings: the features of steps, and the columns of the context.

    Raises:
        MasteryError: the model reads another log than a simulated one.
    """
    sequences = read_sequences(chosen.examples, settings)
    answered = answered_classes(explained)
    classes = np.array([simulator.CLASSES.index(name) for name in answered])
    truth = true_effects(sequences, classes)

    shares = []
    for row, name in enumerate(answered):
        explanation = explained[name]
        named = np.argsort(-explanation.attributions[row], kind="stable")[:TOP]
        drivers = [place for place in np.argsort(-truth[row])[:TOP] if truth[row, place] > 0]
        if drivers:
            is_named = {explanation.features[place] for place in named}
            shares.append((row, np.mean([OBSERVED[place] in is_named for place in drivers])))

    rows, values = [row for row, _ in shares], np.array([share for _, share in shares])
    rules = settings.evaluation
    means = DrawnMeans(chosen.learners[rows], draws=rules.draws, confidence=rules.confidence)
    features = len(next(iter(explained.values())).features)
    return TrueDrivers(
        examples=len(rows),
        top=TOP,
        shared=float(values.mean()),
        interval=means.interval(values),
        by_chance=TOP / features,
    )


def answered_classes(explained: Mapping[str, Explanations]) -> list[str]:
    """Returns the most probable class of each example; "" for all in a regression."""
    names = [*explained]
    answers = np.stack([item.answers for item in explained.values()], axis=1)
    return [names[place] for place in answers.argmax(axis=1)]


def read_sequences(examples: Sequence[bytes], settings: EvaluatorSettings) -> Sequences:
    """Returns the events of simulated learners, as the simulator keeps them, from examples.

    Only what the exact answer depends on is filled in.

    Raises:
        MasteryError: a feature is missing, or a word is none of the simulator's.
    """
    wanted = (*OBSERVED, _COMPONENT, TIME_SINCE_PREVIOUS, TIME_TO_AS_OF)
    missing = [name for name in wanted if name not in settings.steps.features]
    if missing or [*settings.label.classes] != [*simulator.CLASSES]:
        found = f"no {', '.join(missing)}" if missing else f"classes {settings.label.classes}"
        raise MasteryError(
            "explain.truth: expected the steps and classes of a log of `mastery simulate`, found "
            f"{found}. Remove explain.truth for any other log."
        )

    longest = simulator.EVENTS_BEFORE[1]
    parsed = [tf.train.Example.FromString(example) for example in examples]
    raw = {name: _matrix(parsed, name, longest) for name in wanted}
    before = np.array([min(_length(item, wanted[0]), longest) for item in parsed])
    rows, places = np.arange(len(parsed)), np.arange(longest)

    # Until the next event, and after the last one until `as_of`.
    wait = np.roll(raw[TIME_SINCE_PREVIOUS].astype(float), -1, axis=1)
    wait[rows, before - 1] = raw[TIME_TO_AS_OF].astype(float)[rows, before - 1]
    wait = np.where(places < before[:, None], wait, 0.0)
    time = np.pad(np.cumsum(wait, axis=1), ((0, 0), (1, 0)))

    components = [f"{unit}/{name}" for unit, names in simulator.CATALOGUE.items() for name in names]
    levels = [_only(item, _JOB_LEVEL) for item in parsed]
    return Sequences(
        learner=rows,
        ability=np.zeros_like(rows),
        attributes={_JOB_LEVEL: _index(levels, _JOB_LEVELS, _JOB_LEVEL)},
        unit=np.zeros_like(rows),
        label=np.zeros_like(rows),
        recorded=np.ones(len(rows), bool),
        before=before,
        events=before,
        time=time,
        as_of=time[rows, before],
        wait=wait,
        event_type=_words(raw["event_type"], simulator.EVENT_TYPES, "event_type"),
        component=_words(raw[_COMPONENT], components, _COMPONENT) % len(simulator.DIFFICULTY),
        dwell=raw["dwell_seconds"].astype(float),
        completed=raw["exercise_completed"].astype(float),
        correct=raw["correct"].astype(float),
        speed=raw["playback_speed"].astype(float),
    )


def _answers(model: Path, cuts: Sequence[bytes], classes: Sequence[str]) -> Floats:
    """Returns what the model answers to cut examples, [rows, cuts]: of the class of each row."""
    with load_signature(model, SERVING_DEFAULT) as predict:
        parts = [
            predict({EXAMPLES: np.array(cuts[start : start + BATCH], object)})
            for start in range(0, len(cuts), BATCH)
        ]
    if PREDICTION in parts[0]:
        found = np.concatenate([part[PREDICTION] for part in parts])
    else:
        names = [name.decode() for name in parts[0][CLASSES][0]]
        columns = np.repeat([names.index(name) for name in classes], len(cuts) // len(classes))
        found = np.concatenate([part[PROBABILITIES] for part in parts])
        found = found[np.arange(len(cuts)), columns]
    answers: Floats = found.reshape(len(classes), -1).astype(np.float64)
    return answers


def _values(parsed: Parsed, name: str) -> Any:
    """Returns a feature's list in a parsed example, whatever its type; empty if it has none."""
    feature = parsed.features.feature[name]
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else []


def _length(parsed: Parsed, name: str) -> int:
    return len(_values(parsed, name))


def _without(parsed: Parsed, names: Sequence[str], out: Ints, longest: int) -> bytes:
    """Returns an example without some of its last `longest` steps, serialized."""
    copy = tf.train.Example()
    copy.CopyFrom(parsed)
    earlier = _length(parsed, names[0]) - min(_length(parsed, names[0]), longest)
    gone = {earlier + int(step) for step in out}
    for name in names:
        values = _values(copy, name)
        kept = [value for place, value in enumerate(values) if place not in gone]
        del values[:]
        values.extend(kept)

    steps = _values(copy, NUM_STEPS)
    if len(steps):
        steps[0] = _length(copy, names[0])
    text: bytes = copy.SerializeToString()
    return text


def _matrix(parsed: Sequence[Parsed], name: str, width: int) -> NDArray[Any]:
    """Returns the last `width` values of a feature of steps, [n, width]; padding repeats one."""
    rows = []
    for item in parsed:
        values = [*_values(item, name)][-width:]
        rows.append(values + [values[-1]] * (width - len(values)))
    return np.array(rows)


def _only(parsed: Parsed, name: str) -> bytes:
    values = _values(parsed, name)
    return values[0] if len(values) else b""


def _words(values: NDArray[Any], known: Sequence[str], name: str) -> Ints:
    return _index(values.ravel().tolist(), known, name).reshape(values.shape)


def _index(values: Sequence[bytes], known: Sequence[str], name: str) -> Ints:
    places = {word.encode(): place for place, word in enumerate(known)}
    found = next((value for value in values if value not in places), None)
    if found is not None:
        raise MasteryError(
            f"explain.truth: expected the words of a log of `mastery simulate` in {name}, found "
            f"{found.decode(errors='replace')!r}. Remove explain.truth for any other log."
        )
    return np.array([places[value] for value in values], np.int64)
