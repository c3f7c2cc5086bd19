"""The served model: Transform's graph, the network and the prior behind two signatures.

`export_model` writes it, whole or not at all, and on request a second one for GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.config.training import Categorical
from components.contracts.model_card import ModelCard
from components.contracts.names import (
    BASIS,
    BASIS_PRIOR,
    BASIS_SEQUENCE,
    CLASSES,
    EXAMPLES,
    GPU,
    NUM_STEPS,
    PORTABLE,
    PREDICT_STEPS,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    SERVING_DEFAULT,
    TRANSFORMED_PRIOR,
)
from components.files.atomic import new_folder
from components.model_version.operations import operations, without_cpu_kernel
from components.trainer.network import NetworkInputs, build_network
from components.trainer.warm_start import write_weights

if TYPE_CHECKING:
    from components.config.data import Label
    from components.node.settings import TrainerSettings

NO_GPU = (
    "none: training.gpu_export is true, but TensorFlow traced no cuDNN kernel; it does so only if "
    "it sees a GPU"
)

Answers = dict[str, tf.Tensor]


def export_model(
    network: keras.Model,
    inputs: NetworkInputs,
    transform: tft.TFTransformOutput,
    settings: TrainerSettings,
    *,
    code_fingerprint: str,
    folder: Path,
) -> str | None:
    """Writes a SavedModel with both signatures, its card, and what a warm start needs.

    Args:
        network: the fitted network; may use cuDNN and a lower precision than float32.
        inputs: the inputs of the network.
        transform: its graph becomes part of the model.
        settings: written into the card; they also set the inputs and outputs of the signatures.
        code_fingerprint: fingerprint of the code that made the model, for the card.
        folder: the folder for the model, missing or empty.

    Returns:
        The folder of the export for GPUs in `folder`, or why there is none; None without
        `training.gpu_export`.
    """
    # Keras picks kernels when a graph is traced, and a graph with cuDNN's does not run on a CPU.
    portable = _float32_copy(network, settings, inputs, cudnn=False)
    gpu = None
    if settings.training.gpu_export:
        fast = _float32_copy(network, settings, inputs, cudnn=True)
        gpu = ServedModel(fast, inputs, transform, settings)
    fused = gpu is not None and needs_gpu(gpu.functions)
    folders = {PORTABLE: ".", GPU: GPU} if fused else {PORTABLE: "."}

    card = ModelCard(
        name=settings.name,
        task=settings.label.task,
        classes=settings.label.classes,
        config=settings.model_dump(mode="json", by_alias=True),
        code=code_fingerprint,
        exports=folders,
    )
    with new_folder(folder) as draft:
        _save(ServedModel(portable, inputs, transform, settings), card, draft)
        write_weights(network, inputs, draft)
        if gpu is not None and fused:
            _save(gpu, card, draft / GPU)

    if gpu is None:
        return None
    return GPU if fused else NO_GPU


def needs_gpu(functions: Mapping[str, Any]) -> bool:
    """Returns whether a traced function holds an operation that has no kernel for a CPU."""
    graphs = [function.graph.as_graph_def() for function in functions.values()]
    return any(without_cpu_kernel(operations(graph)) for graph in graphs)


def _float32_copy(
    network: keras.Model, settings: TrainerSettings, inputs: NetworkInputs, *, cudnn: bool
) -> keras.Model:
    """Returns a copy to serve, whose answers do not depend on the precision of the fit."""
    copy = build_network(settings, inputs, cudnn=cudnn)
    copy.set_weights(network.get_weights())
    return copy


def _save(served: ServedModel, card: ModelCard, folder: Path) -> None:
    tf.saved_model.save(served, str(folder), signatures=served.functions)
    card.write(folder)


class ServedModel(tf.Module):  # type: ignore[misc]
    """Answers for learners, given their raw events, in one graph.

    Attributes:
        functions: by the name of their signature.
    """

    def __init__(
        self,
        network: keras.Model,
        inputs: NetworkInputs,
        transform: tft.TFTransformOutput,
        settings: TrainerSettings,
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
        self._transform = transform.transform_features_layer()

        spec = transform.raw_feature_spec()
        columns = dict.fromkeys([*settings.context, *settings.prior.group_by])
        self._column_specs = {name: spec[name] for name in columns}
        self._num_steps_spec = spec[NUM_STEPS]

        self.functions: dict[str, Callable[..., Answers]] = {
            SERVING_DEFAULT: self._serving_default.get_concrete_function(
                tf.TensorSpec([None], tf.string, name=EXAMPLES)
            ),
            PREDICT_STEPS: self._predict_steps.get_concrete_function(self._dense_specs()),
        }

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _serving_default(self, examples: tf.Tensor) -> Answers:
        """Answers for serialized examples [B]; a label, keys and slices in them are ignored."""
        steps = {
            name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            for name, dtype in self._step_dtypes().items()
        }
        columns = {
            name: tf.io.RaggedFeature(item.dtype, row_splits_dtype=tf.int64)
            for name, item in self._column_specs.items()
        }
        parsed = tf.io.parse_example(examples, {**steps, **columns})
        return self._answer(
            {name: parsed[name] for name in steps}, {name: parsed[name] for name in columns}
        )

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _predict_steps(self, inputs: Mapping[str, tf.Tensor]) -> Answers:
        """Answers for padded steps [B, T], `num_steps` [B], columns [B]; NaN and "" are missing."""
        some_step = inputs[next(iter(self._settings.steps.features))]
        lengths = tf.clip_by_value(inputs[NUM_STEPS], 0, tf.shape(some_step, tf.int64)[1])
        steps = {
            name: tf.RaggedTensor.from_tensor(inputs[name], lengths) for name in self._step_dtypes()
        }
        columns = {name: _present(inputs[name]) for name in self._column_specs}
        return self._answer(steps, columns)

    def _answer(
        self, steps: Mapping[str, tf.RaggedTensor], columns: Mapping[str, tf.RaggedTensor]
    ) -> Answers:
        """Truncates, transforms, pads and answers; with the prior for fewer than `min_steps`."""
        last = slice(-self._settings.steps.max_steps, None)
        steps = {name: values[:, last] for name, values in _equally_long(steps).items()}
        num_steps = next(iter(steps.values())).row_lengths()

        raw = {name: _as_spec(values, self._column_specs[name]) for name, values in columns.items()}
        raw[NUM_STEPS] = _as_spec(_present(num_steps), self._num_steps_spec)
        features = self._transform({**steps, **raw})

        # An LSTM needs at least one step, even if it is padding.
        longest = tf.reduce_max(tf.concat([num_steps, [1]], axis=0))
        padded = _padded(self._inputs.pick(features), longest)

        is_cold = num_steps < self._settings.steps.min_steps
        prior = features[TRANSFORMED_PRIOR]
        answer = tf.where(is_cold[:, tf.newaxis], prior, self._call_network(padded))
        basis = tf.where(is_cold, BASIS_PRIOR, BASIS_SEQUENCE)
        return {**_named(answer, self._settings.label), BASIS: basis}

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


def _equally_long(steps: Mapping[str, tf.RaggedTensor]) -> dict[str, tf.RaggedTensor]:
    """Returns the steps unchanged; a request fails unless all have equally many values."""
    (first, lengths), *others = [(name, values.row_lengths()) for name, values in steps.items()]
    checks = []
    for name, length in others:
        message = f"expected as many values of {name} as of {first}"
        checks.append(tf.debugging.assert_equal(length, lengths, message))
    with tf.control_dependencies(checks):
        return {name: tf.identity(values) for name, values in steps.items()}


def _padded(
    features: Mapping[str, tf.Tensor | tf.RaggedTensor], longest: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Pads ragged steps on the right, to `longest` steps; returns other features unchanged."""
    padded = {}
    for name, value in features.items():
        is_ragged = isinstance(value, tf.RaggedTensor)
        padded[name] = value.to_tensor(shape=tf.stack([-1, longest])) if is_ragged else value
    return padded


def _present(values: tf.Tensor) -> tf.RaggedTensor:
    """Turns one value per row into a list per row, empty where the value is missing."""
    if values.dtype == tf.string:
        present = tf.not_equal(values, "")
    else:
        present = tf.math.is_finite(tf.cast(values, tf.float32))
    kept = tf.boolean_mask(values, present)
    return tf.RaggedTensor.from_row_lengths(kept, tf.cast(present, tf.int64))


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
        CLASSES: tf.repeat(classes[tf.newaxis], tf.shape(answer)[0], axis=0),
        PROBABILITIES: answer,
        PREDICTED_CLASS: tf.gather(classes, tf.argmax(answer, axis=1)),
    }
