"""Temperature scaling: how bold the network's probabilities are, corrected on the eval split.

Networks that are fitted until the eval loss stops falling are often too sure of themselves, and
sometimes too timid. Dividing all logits by one number, the temperature, changes how far
probabilities are from each other, but not their order: the classes answered stay the same
(Guo et al., 2017). With weighted classes the fit shifts logits towards rare classes on purpose; a
temperature cannot take that shift back, it only finds the best boldness for shifted logits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from components.trainer.network import ANSWER

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUNDS = (0.2, 5.0)  # temperatures beyond come from eval splits that are too small to tell
HALVINGS = 40  # of the range that is searched: the last one is far below a float32's precision


def fit_temperature(network: keras.Model, evaluation: tf.data.Dataset) -> float:
    """Returns the temperature under which the log loss of a classifier is the smallest.

    Args:
        network: the fitted network; its last layer, `answer`, is a softmax.
        evaluation: batches of (inputs, label, weight). Weights other than 0, which marks rows that
            only fill up a batch, are not applied.
    """
    return best_temperature(*read_logits(network, evaluation))


def read_logits(
    network: keras.Model, evaluation: tf.data.Dataset
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns the logits [N, C] of a classifier, and the labels [N]."""
    answer = network.get_layer(ANSWER)
    state = keras.Model(network.input, answer.input)
    kernel, bias = (tf.constant(weight) for weight in answer.get_weights())

    @tf.function(input_signature=[evaluation.element_spec[0]], autograph=False)  # type: ignore[untyped-decorator]
    def logits_of(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(state(inputs, training=False), tf.float32) @ kernel + bias

    logits, labels = [], []
    for inputs, label, weight in evaluation:
        counts = weight.numpy() > 0
        logits.append(logits_of(inputs).numpy()[counts])
        labels.append(label.numpy()[counts])
    return np.concatenate(logits), np.concatenate(labels)


def best_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Returns the temperature in `BOUNDS` with the smallest log loss.

    The log loss is convex in 1 / temperature, so the sign of its slope says on which side of a
    temperature the best one lies. That interval is halved again and again.

    Args:
        logits: [N, C].
        labels: the classes by number [N].

    >>> logits = np.log([[0.8, 0.2]] * 10)
    >>> labels = np.array([0] * 8 + [1] * 2)
    >>> round(best_temperature(logits, labels), 6), round(best_temperature(3 * logits, labels), 6)
    (1.0, 3.0)
    """
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    of_label = np.take_along_axis(scores, labels[:, np.newaxis], axis=1).mean()

    low, high = map(math.log, BOUNDS)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(scores / math.exp(middle))
        expected = (weights * scores).sum(axis=1) / weights.sum(axis=1)
        # The slope of the log loss in 1 / temperature: above 0, a lower 1 / temperature is better.
        if expected.mean() > of_label:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)
