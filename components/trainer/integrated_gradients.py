"""Integrated gradients of a served network, by the inputs of a learner (Sundararajan et al., 2017).

The way from the average learner to the learner is a straight line. What a number of the learner
adds to the answer is its difference to the average one, times the mean of the answer's gradient by
it along that line. The sum over all numbers is the difference of the two answers, so the error of
the mean can be read off: a part of the line whose sum is further off than `TOLERANCE` is halved.

Two properties of the network make few points enough. Its dense layers are cheap, but their ReLUs
make the gradient jump; the layers before them, up to the state of the sequence, are costly, but
smooth. So along a part of the line the state is a polynomial through a few points, the gradient of
the dense layers is averaged over many states on that polynomial, and only the few points are
differentiated back through the sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from components.trainer.split_network import SplitNetwork

POINTS = 3  # of a part of the line, at which the sequence is differentiated; its middle is one
SAMPLES = 32  # of a part of the line, at which the dense layers are differentiated
TOLERANCE = 2e-4  # of the sum of a part; relative for answers above 1
NARROWEST = 2.0**-10  # parts are not halved further
STEPS_AT_ONCE = 1 << 11  # steps of sequences, times points, that are differentiated at once

Array = np.ndarray[Any, Any]


class Line(NamedTuple):
    """The ways of B learners from their group's average learner to themselves.

    Attributes:
        steps: where they begin, embedded features of steps side by side [B, T, E].
        step_changes: by how much they end elsewhere, [B, T, E].
        columns: the same of what is beside the sequence, [B, D].
        column_changes: [B, D].
        num_steps: int64 [B].
        classes: whose probability is explained, int32 [B]; zeros in a regression.
    """

    steps: tf.Tensor
    step_changes: tf.Tensor
    columns: tf.Tensor
    column_changes: tf.Tensor
    num_steps: tf.Tensor
    classes: tf.Tensor


class Attributions(NamedTuple):
    """What each number of B learners adds to the answer.

    Attributes:
        steps: float32 [B, T, S].
        columns: float32 [B, N].
        typical: the answer for the average learner, float32 [B].
    """

    steps: tf.Tensor
    columns: tf.Tensor
    typical: tf.Tensor


class IntegratedGradients:
    """Integrates the gradient of a network along lines from average learners to learners.

    Args:
        network: which is differentiated.
        step_groups: which numbers of a step are of one feature of the user, 0 or 1, [E, S].
        column_groups: the same of what is beside the sequence, [D, N].
        steps: at how many points of a line the gradient is taken at least.
    """

    def __init__(
        self, network: SplitNetwork, step_groups: Array, column_groups: Array, steps: int
    ) -> None:
        self._network = network
        self._step_groups, self._column_groups = step_groups, column_groups
        self._widest = max(POINTS / steps, NARROWEST)
        self._rule = _Rule.of(POINTS, SAMPLES)

    def __call__(self, line: Line, is_asked: tf.Tensor) -> Attributions:
        """Returns what adds to the answers of learners, in a graph that is being traced.

        Args:
            line: of B learners.
            is_asked: bool [B]; the attributions of the others are 0.
        """
        shape = tf.shape(line.steps)
        whole, typical = self._whole_lines(line, is_asked)
        steps = tf.zeros([shape[0], shape[1], self._step_groups.shape[1]])
        columns = tf.zeros([shape[0], self._column_groups.shape[1]])

        def advance(
            parts: _Parts, steps: tf.Tensor, columns: tf.Tensor
        ) -> tuple[_Parts, tf.Tensor, tf.Tensor]:
            now, later = parts.taken(tf.maximum(STEPS_AT_ONCE // (POINTS * shape[1]), 1))
            found = self._integrate(line, now)
            at = tf.boolean_mask(now.rows, found.is_exact)[:, tf.newaxis]
            of_steps = tf.boolean_mask(found.steps, found.is_exact)
            missing = shape[1] - tf.shape(of_steps)[1]
            of_steps = tf.pad(of_steps, [[0, 0], [0, missing], [0, 0]])
            steps = tf.tensor_scatter_nd_add(steps, at, of_steps)
            if columns.shape[1]:  # TensorFlow refuses to add to nothing
                of_columns = tf.boolean_mask(found.columns, found.is_exact)
                columns = tf.tensor_scatter_nd_add(columns, at, of_columns)
            return later.joined(now.halved(found)), steps, columns

        _, steps, columns = tf.while_loop(
            lambda parts, *_: tf.size(parts.rows) > 0,
            advance,
            (whole, steps, columns),
            shape_invariants=(whole.shapes, steps.shape, columns.shape),
            parallel_iterations=1,
        )
        return Attributions(steps, columns, typical)

    def _whole_lines(self, line: Line, is_asked: tf.Tensor) -> tuple[_Parts, tf.Tensor]:
        """Returns the lines of those who are asked for, and all typical answers [B].

        Long sequences come first, so that those which are read together are about as long.
        """
        state, _ = self._network.read_sequences(line.steps, line.num_steps)
        typical = self._network.answer(state, line.columns, line.classes)
        ends = line.steps + line.step_changes
        end, _ = self._network.read_sequences(ends, line.num_steps)
        answer = self._network.answer(end, line.columns + line.column_changes, line.classes)

        lengths = tf.where(is_asked, line.num_steps, -1)
        count = tf.reduce_sum(tf.cast(is_asked, tf.int32))
        rows = tf.argsort(lengths, direction="DESCENDING", stable=True)[:count]
        states = (tf.gather(state, rows), tf.gather(end, rows))
        answers = (tf.gather(typical, rows), tf.gather(answer, rows))
        zeros = tf.zeros(tf.shape(rows))
        return _Parts(rows, zeros, zeros + 1.0, *states, *answers), typical

    def _integrate(self, line: Line, parts: _Parts) -> _Integrated:
        """Returns the attributions of C parts of lines."""
        line = Line(*(tf.gather(values, parts.rows) for values in line))
        longest = tf.reduce_max(line.num_steps)
        line = line._replace(
            steps=line.steps[:, :longest], step_changes=line.step_changes[:, :longest]
        )
        count, numbers = POINTS, line.steps.shape[2]

        # The states at the points, and how to differentiate them.
        places = parts.places(self._rule.points)
        changes = places[:, :, tf.newaxis, tf.newaxis] * line.step_changes[:, tf.newaxis]
        flat = tf.reshape(line.steps[:, tf.newaxis] + changes, tf.stack([-1, longest, numbers]))
        flat_states, differentiate = self._network.read_sequences(
            flat, tf.repeat(line.num_steps, count)
        )
        units = flat_states.shape[1]
        states = tf.reshape(flat_states, [-1, count, units])

        of_points, of_columns = self._of_dense_layers(line, parts, states)
        of_flat = differentiate(tf.reshape(of_points, [-1, units]))
        of_steps = tf.reshape(of_flat, tf.stack([-1, count, longest, numbers]))
        of_steps = tf.reduce_sum(of_steps, axis=1) * line.step_changes
        of_columns *= line.column_changes

        middle = states[:, count // 2]
        half = line.columns + 0.5 * (parts.starts + parts.ends)[:, tf.newaxis] * line.column_changes
        answer = self._network.answer(middle, half, line.classes)
        total = tf.reduce_sum(of_steps, axis=[1, 2]) + tf.reduce_sum(of_columns, axis=1)
        widths = parts.ends - parts.starts
        largest = tf.maximum(tf.maximum(tf.abs(parts.first), tf.abs(parts.last)), 1.0)
        is_off = tf.abs(total - (parts.last - parts.first)) > TOLERANCE * largest
        return _Integrated(
            tf.matmul(of_steps, tf.constant(self._step_groups)),
            tf.matmul(of_columns, tf.constant(self._column_groups)),
            (~is_off & (widths <= self._widest)) | (widths <= NARROWEST),
            middle,
            answer,
        )

    def _of_dense_layers(
        self, line: Line, parts: _Parts, states: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradient by the states at the points [C, P, U], and by the columns [C, D].

        Both are integrated over the part, along the polynomial through the states that are known.
        """
        known = tf.concat(
            [parts.first_state[:, tf.newaxis], states, parts.last_state[:, tf.newaxis]], axis=1
        )
        sampled = tf.einsum("mk,cku->cmu", tf.constant(self._rule.states), known)
        places = parts.places(self._rule.samples)[:, :, tf.newaxis]
        columns = line.columns[:, tf.newaxis] + places * line.column_changes[:, tf.newaxis]

        flat_states = tf.reshape(sampled, [-1, sampled.shape[2]])
        flat_columns = tf.reshape(columns, [-1, columns.shape[2]])
        answers = self._network.answer(flat_states, flat_columns, tf.repeat(line.classes, SAMPLES))
        of_states, of_columns = tf.gradients(
            answers, [flat_states, flat_columns], unconnected_gradients="zero"
        )
        of_states = tf.reshape(of_states, tf.shape(sampled))
        of_columns = tf.reshape(of_columns, tf.shape(columns))

        width = (parts.ends - parts.starts)[:, tf.newaxis]
        of_points = tf.einsum("mk,cmu->cku", tf.constant(self._rule.gradients), of_states)
        return of_points * width[:, :, tf.newaxis], tf.reduce_mean(of_columns, axis=1) * width


class _Parts(NamedTuple):
    """Parts of lines that are still to be integrated, Q of them.

    Attributes:
        rows: of which learner, int32 [Q].
        starts: where a part begins, from 0 to 1, [Q].
        ends: where it ends, [Q].
        first_state: the state of the sequence at its start, [Q, U].
        last_state: that at its end, [Q, U].
        first: the answer at its start, [Q].
        last: that at its end, [Q].
    """

    rows: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    first_state: tf.Tensor
    last_state: tf.Tensor
    first: tf.Tensor
    last: tf.Tensor

    @property
    def shapes(self) -> _Parts:
        """The shapes of the tensors, for any number of parts."""
        return _Parts(*(tf.TensorShape([None, *item.shape[1:]]) for item in self))

    def places(self, inside: Array) -> tf.Tensor:
        """Returns places on the lines, [Q, P], of places inside of the parts [P]."""
        widths = (self.ends - self.starts)[:, tf.newaxis]
        return self.starts[:, tf.newaxis] + widths * tf.constant(inside)

    def taken(self, count: tf.Tensor) -> tuple[_Parts, _Parts]:
        """Returns the first `count` parts, and the others."""
        return _Parts(*(item[:count] for item in self)), _Parts(*(item[count:] for item in self))

    def halved(self, found: _Integrated) -> _Parts:
        """Returns both halves of the parts that are not exact enough."""
        kept = [tf.boolean_mask(item, ~found.is_exact) for item in self]
        rows, starts, ends, first_state, last_state, first, last = kept
        state = tf.boolean_mask(found.middle_state, ~found.is_exact)
        middle = tf.boolean_mask(found.middle, ~found.is_exact)
        between = (starts + ends) / 2
        earlier = _Parts(rows, starts, between, first_state, state, first, middle)
        return earlier.joined(_Parts(rows, between, ends, state, last_state, middle, last))

    def joined(self, other: _Parts) -> _Parts:
        """Returns the parts of both."""
        return _Parts(*(tf.concat(pair, axis=0) for pair in zip(self, other, strict=True)))


class _Integrated(NamedTuple):
    """What C parts of lines add.

    Attributes:
        steps: by features of steps, [C, T, S]; T is the longest of these sequences.
        columns: by what is beside the sequence, [C, N].
        is_exact: whether the sum is close enough to the difference of the answers, bool [C].
        middle_state: the state in the middle of the part, [C, U].
        middle: the answer there, [C].
    """

    steps: tf.Tensor
    columns: tf.Tensor
    is_exact: tf.Tensor
    middle_state: tf.Tensor
    middle: tf.Tensor


class _Rule(NamedTuple):
    """How a part of a line, from 0 to 1, is integrated.

    Attributes:
        points: where the sequence is differentiated, those of Gauss and Legendre.
        samples: where the dense layers are differentiated, float32 [M].
        states: what the states at the ends and the points weigh in that of a sample, [M, P + 2].
        gradients: what a sample's gradient weighs in that of each point, [M, P].
    """

    points: Array
    samples: Array
    states: Array
    gradients: Array

    @classmethod
    def of(cls, points: int, samples: int) -> _Rule:
        """Returns the rule for numbers of points and samples."""
        places = (np.polynomial.legendre.leggauss(points)[0] + 1) / 2
        between = (np.arange(samples) + 0.5) / samples
        states = _lagrange(np.array([0.0, *places, 1.0]), between)
        gradients = _lagrange(places, between) / samples
        arrays = (places, between, states, gradients)
        return cls(*(array.astype(np.float32) for array in arrays))


def _lagrange(nodes: Array, places: Array) -> Array:
    """Returns what each node weighs in the value of their polynomial at places, [M, K]."""
    factors = [
        np.prod([(places - other) / (node - other) for other in np.delete(nodes, index)], axis=0)
        for index, node in enumerate(nodes)
    ]
    return np.stack(np.broadcast_arrays(*factors, places)[:-1], axis=1)
