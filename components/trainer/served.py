"""The served model: Transform's graph, the network and the prior behind two signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from components.config.training import Categorical
from components.contracts.names import (
    BASIS,
    BASIS_PRIOR,
    BASIS_SEQUENCE,
    CLASSES,
    EXAMPLES,
    EXPLAIN,
    EXPLAIN_STEPS,
    EXPLAINED_CLASS,
    GROUPS,
    NUM_STEPS,
    PREDICT_STEPS,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    SERVING_DEFAULT,
    TRANSFORMED_PRIOR,
)
from components.trainer.answer_parts import Answered

if TYPE_CHECKING:
    from components.config.data import Label
    from components.node.settings import TrainerSettings
    from components.trainer.answer_parts import AnswerPart
    from components.trainer.explanations import Explainer
    from components.trainer.network import NetworkInputs
    from components.trainer.transform_graph import TransformGraph

Features = dict[str, tf.Tensor]
Answers = dict[str, tf.Tensor]


class ServedModel(tf.Module):  # type: ignore[misc]
    """Answers for learners, given their raw events, in one graph.

    Attributes:
        functions: by the name of their signature; those that explain only with an explainer.
    """

    def __init__(
        self,
        network: keras.Model,
        inputs: NetworkInputs,
        transform: TransformGraph,
        settings: TrainerSettings,
        parts: Sequence[AnswerPart] = (),
        explainer: Explainer | None = None,
    ) -> None:
        super().__init__()

        # Not tracked as a Keras model: each weight would be exported twice, and loaders of graphs,
        # such as TensorFlow Serving, never restore the copy that the signatures read.
        def call_network(features: dict[str, tf.Tensor]) -> tf.Tensor:
            return network(features, training=False)

        self._call_network = call_network
        self._weights = [weight.value for weight in network.weights]
        self._inputs = inputs
        self._settings = settings
        self._transform = transform
        self._outputs_of_parts = [part.outputs for part in parts]

        spec = transform.raw_feature_spec
        columns = dict.fromkeys([*settings.context, *settings.prior.group_by])
        self._column_specs = {name: spec[name] for name in columns}
        self._num_steps_spec = spec[NUM_STEPS]

        # Only traced functions are attributes: TensorFlow traces others anew when it saves them.
        examples = tf.TensorSpec([None], tf.string, name=EXAMPLES)
        steps = self._dense_specs()
        self._read_examples = _traced(self._features_of_examples, examples)
        self._read_steps = _traced(self._features_of_steps, steps)
        features = _specs_of(self._read_examples)
        self._answer = _traced(self._answer_features, features)
        self.functions: dict[str, Callable[..., Answers]] = {
            SERVING_DEFAULT: _traced(self._serving_default, examples),
            PREDICT_STEPS: _traced(self._predict_steps, steps),
        }
        if explainer is not None:
            self._trace_explanations(explainer, examples, steps, features)

    def _trace_explanations(
        self,
        explainer: Explainer,
        examples: tf.TensorSpec,
        steps: Mapping[str, tf.TensorSpec],
        features: Mapping[str, tf.TensorSpec],
    ) -> None:
        """Adds the signatures that explain; all four share the functions that do the work."""
        named = tf.TensorSpec([None], tf.string, name=EXPLAINED_CLASS)
        classes = {EXPLAINED_CLASS: named} if explainer.asks_for_class else {}

        def explain(
            features: Mapping[str, tf.Tensor], answer: tf.Tensor, classes: Mapping[str, tf.Tensor]
        ) -> Answers:
            answered = self._answered(features, answer)
            return explainer.outputs(answered, classes.get(EXPLAINED_CLASS))

        def explain_features(
            features: Mapping[str, tf.Tensor], classes: Mapping[str, tf.Tensor]
        ) -> Answers:
            answers = self._answer(features)
            return answers | self._explain(features, _numbers_of(answers), classes)

        def explain_examples(inputs: Mapping[str, tf.Tensor]) -> Answers:
            classes = {name: inputs[name] for name in inputs if name == EXPLAINED_CLASS}
            return explain_features(self._read_examples(inputs[EXAMPLES]), classes)

        def explain_steps(inputs: Mapping[str, tf.Tensor]) -> Answers:
            classes = {name: inputs[name] for name in inputs if name == EXPLAINED_CLASS}
            read = {name: inputs[name] for name in inputs if name != EXPLAINED_CLASS}
            return explain_features(self._read_steps(read), classes)

        numbers = tf.TensorSpec([None, explainer.width], tf.float32, name="answer")
        self._explain = _traced(explain, features, numbers, classes)
        self.functions[EXPLAIN] = _traced(explain_examples, {EXAMPLES: examples, **classes})
        self.functions[EXPLAIN_STEPS] = _traced(explain_steps, {**steps, **classes})

    def _serving_default(self, examples: tf.Tensor) -> Answers:
        return self._answer(self._read_examples(examples))

    def _predict_steps(self, inputs: Mapping[str, tf.Tensor]) -> Answers:
        return self._answer(self._read_steps(inputs))

    def _features_of_examples(self, examples: tf.Tensor) -> Features:
        """Reads serialized examples [B]; a label, keys and slices in them are ignored."""
        lists = {
            name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            for name, dtype in (*self._step_dtypes().items(), *self._column_dtypes().items())
        }
        parsed = tf.io.parse_example(examples, lists)

        steps = {name: parsed[name] for name in self._step_dtypes()}
        columns = {name: parsed[name] for name in self._column_specs}
        return self._transformed(_last_steps(steps, self._settings.steps.max_steps), columns)

    def _features_of_steps(self, inputs: Mapping[str, tf.Tensor]) -> Features:
        """Reads padded steps [B, T], `num_steps` [B], columns [B]; NaN and "" are missing."""
        steps = {name: inputs[name] for name in self._step_dtypes()}
        some_step = next(iter(steps.values()))
        lengths = tf.clip_by_value(inputs[NUM_STEPS], 0, tf.shape(some_step, tf.int64)[1])
        columns = {name: _present(inputs[name]) for name in self._column_specs}
        last_steps = _last_dense_steps(steps, lengths, self._settings.steps.max_steps)
        return self._transformed(last_steps, columns)

    def _transformed(
        self, steps: Mapping[str, tf.RaggedTensor], columns: Mapping[str, tf.RaggedTensor]
    ) -> Features:
        """Transforms and pads: the inputs of the network, the prior and the groups."""
        num_steps = next(iter(steps.values())).row_lengths()
        raw = {name: _as_spec(values, self._column_specs[name]) for name, values in columns.items()}
        raw[NUM_STEPS] = _as_spec(_one_per_row(num_steps), self._num_steps_spec)
        wanted = [*self._inputs.names, TRANSFORMED_PRIOR, GROUPS]
        features = self._transform({**steps, **raw}, wanted)
        if self._settings.steps.shared:
            features = _one_outcome_each(features, set(self._inputs.steps))

        # An LSTM needs at least one step, even if it is padding.
        longest = tf.reduce_max(tf.concat([num_steps, [1]], axis=0))
        others = {name: features[name] for name in (TRANSFORMED_PRIOR, GROUPS)}
        return {**_padded(self._inputs.pick(features), longest), **others}

    def _answer_features(self, features: Mapping[str, tf.Tensor]) -> Answers:
        """Answers; with the prior for fewer than `min_steps`."""
        network = self._call_network(self._inputs.pick(features))
        is_cold = features[NUM_STEPS] < self._settings.steps.min_steps
        answer = tf.where(is_cold[:, tf.newaxis], features[TRANSFORMED_PRIOR], network)
        basis = tf.where(is_cold, BASIS_PRIOR, BASIS_SEQUENCE)

        answers = {**_named(answer, self._settings.label), BASIS: basis}
        answered = self._answered(features, answer)
        for outputs in self._outputs_of_parts:
            answers |= outputs(answered)
        return answers

    def _answered(self, features: Mapping[str, tf.Tensor], answer: tf.Tensor) -> Answered:
        is_cold = features[NUM_STEPS] < self._settings.steps.min_steps
        return Answered(answer, is_cold, self._inputs.pick(features), features[GROUPS])

    def _column_dtypes(self) -> dict[str, tf.DType]:
        return {name: spec.dtype for name, spec in self._column_specs.items()}

    def _step_dtypes(self) -> dict[str, tf.DType]:
        features = self._settings.steps.features
        return {
            name: tf.string if isinstance(item, Categorical) else tf.float32
            for name, item in features.items()
        }

    def _dense_specs(self) -> dict[str, tf.TensorSpec]:
        steps = {
            name: tf.TensorSpec([None, None], dtype, name)
            for name, dtype in self._step_dtypes().items()
        }
        columns = {
            name: tf.TensorSpec([None], spec.dtype, name)
            for name, spec in self._column_specs.items()
        }
        return {**steps, **columns, NUM_STEPS: tf.TensorSpec([None], tf.int64, NUM_STEPS)}


def _traced(method: Callable[..., Features], *signature: Any) -> Callable[..., Features]:
    function = tf.function(method, autograph=False)
    concrete: Callable[..., Features] = function.get_concrete_function(*signature)
    return concrete


def _specs_of(function: Any) -> dict[str, tf.TensorSpec]:
    """Returns what a traced function returns, as the argument of another."""
    return {
        name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
        for name, tensor in function.structured_outputs.items()
    }


def _numbers_of(answers: Answers) -> tf.Tensor:
    """Returns probabilities [B, C], or predictions [B, 1]."""
    return (
        answers[PROBABILITIES] if PROBABILITIES in answers else answers[PREDICTION][:, tf.newaxis]
    )


def _last_steps(steps: Mapping[str, tf.RaggedTensor], max_steps: int) -> dict[str, tf.RaggedTensor]:
    """Returns the last `max_steps` of each row; a request fails unless all are equally long."""
    splits = _common_splits({name: values.row_splits for name, values in steps.items()})
    ends = splits[1:]
    kept = tf.ragged.range(tf.maximum(splits[:-1], ends - max_steps), ends)
    return {
        name: kept.with_values(tf.gather(values.values, kept.values))
        for name, values in steps.items()
    }


def _common_splits(row_splits: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns the row splits [B + 1] that all steps share; a request fails unless they do."""
    (first, splits), *others = row_splits.items()
    if not others:
        return splits

    def name_the_longer() -> tf.Operation:
        checks = [
            tf.debugging.assert_equal(
                other, splits, f"expected as many values of {name} as of {first}"
            )
            for name, other in others
        ]
        return tf.group(checks)

    # One comparison for all, because each check costs as much as a layer at a batch of one.
    are_equal = tf.reduce_all(tf.equal(tf.stack([other for _, other in others]), splits))
    check = tf.cond(are_equal, tf.no_op, name_the_longer)
    with tf.control_dependencies([check]):
        return tf.identity(splits)


def _last_dense_steps(
    steps: Mapping[str, tf.Tensor], lengths: tf.Tensor, max_steps: int
) -> dict[str, tf.RaggedTensor]:
    """Returns the last `max_steps` of the first `lengths` [B] values of each row [B, T]."""
    width = tf.shape(next(iter(steps.values())))[1]
    is_step = tf.sequence_mask(lengths, width)
    is_earlier = tf.sequence_mask(lengths - max_steps, width)
    places = tf.where(is_step & ~is_earlier)

    first, *others = steps
    kept = tf.RaggedTensor.from_row_lengths(
        tf.gather_nd(steps[first], places), tf.minimum(lengths, max_steps), validate=False
    )
    return {
        first: kept,
        **{name: kept.with_values(tf.gather_nd(steps[name], places)) for name in others},
    }


def _one_outcome_each(
    features: Mapping[str, tf.Tensor | tf.RaggedTensor], steps: set[str]
) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Returns features of examples that could have several outcomes, each of which has one."""
    return {name: value if name in steps else value.flat_values for name, value in features.items()}


def _padded(
    features: Mapping[str, tf.Tensor | tf.RaggedTensor], longest: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Pads ragged steps on the right, to `longest` steps; returns other features unchanged."""
    shape = tf.stack([-1, longest])
    return {
        name: value.to_tensor(shape=shape) if isinstance(value, tf.RaggedTensor) else value
        for name, value in features.items()
    }


def _present(values: tf.Tensor) -> tf.RaggedTensor:
    """Turns one value per row into a list per row, empty where the value is missing."""
    if values.dtype.is_integer:
        return _one_per_row(values)
    is_present = (
        tf.not_equal(values, "") if values.dtype == tf.string else tf.math.is_finite(values)
    )
    return tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(values, is_present), tf.cast(is_present, tf.int64), validate=False
    )


def _one_per_row(values: tf.Tensor) -> tf.RaggedTensor:
    splits = tf.range(tf.size(values, tf.int64) + 1)
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


def _as_spec(values: tf.RaggedTensor, spec: Any) -> tf.Tensor | tf.SparseTensor | tf.RaggedTensor:
    """Returns a column in the representation of the schema, which Transform's graph reads."""
    if isinstance(spec, tf.io.RaggedFeature):
        return values
    if isinstance(spec, tf.io.VarLenFeature):
        return values.to_sparse()
    return tf.reshape(values.to_tensor(shape=[None, 1]), [-1, *spec.shape])


def _named(answer: tf.Tensor, label: Label) -> Answers:
    if label.task == "regression":
        return {PREDICTION: answer[:, 0]}
    classes = tf.constant(label.classes)
    return {
        CLASSES: tf.broadcast_to(classes, tf.shape(answer)),
        PROBABILITIES: answer,
        PREDICTED_CLASS: tf.gather(classes, tf.argmax(answer, axis=1)),
    }
