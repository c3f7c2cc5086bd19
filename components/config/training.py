"""What the model reads, the network, and how it is fitted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from components.config.emotions import EmotionReason
from components.config.section import (
    Address,
    Bound,
    InputName,
    KeyedError,
    Section,
    integers_as_digits,
)
from components.contracts.names import OUTCOME_STEPS, SAME_UNIT, STEP_UNIT

Weight = Annotated[float, Field(gt=0)]

# Tells the Trainer `training.worker_folder`, which is no part of cache keys.
WORKER_FOLDER = "MASTERY_WORKER_FOLDER"


class Categorical(Section):
    """A column of names: one embedding per word of a vocabulary learned on the training split."""

    type: Literal["categorical"] = Field(description="a column of names")
    vocabulary: int = Field(
        1000, ge=1, description="most frequent words kept; the rest share out-of-vocabulary ids"
    )
    embedding: int = Field(16, ge=1, description="width of the embedding")
    mask: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of training examples that read an unknown word in place of their own, "
        "so that the answer to words never seen is learned; default: .05 for context and "
        "`step_unit`, 0 for other steps",
    )
    allow_protected: bool = Field(
        False,
        description="must be true for a column listed in `protected` to be an input of the model",
    )
    emotion_reason: EmotionReason = None


class Numeric(Section):
    """A column of numbers, scaled on the training split; an indicator marks missing values."""

    type: Literal["numeric"] = Field(description="a column of numbers")
    scale: Literal["z_score", "buckets", "none"] = Field(
        "z_score",
        description="z-score, quantile buckets with an embedding each, or the number unchanged",
    )
    buckets: int = Field(10, ge=2, description="number of quantile buckets, with `scale: buckets`")
    embedding: int = Field(
        8, ge=1, description="width of a bucket's embedding, with `scale: buckets`"
    )
    clip: tuple[Bound, Bound] | None = Field(
        None,
        description="[lowest, highest]: values outside are moved to the edge; .inf: no edge there",
    )
    log: bool = Field(
        False, description="take sign(x) * log(1 + |x|) before scaling, for heavy tails"
    )
    allow_protected: bool = Field(
        False,
        description="must be true for a column listed in `protected` to be an input of the model",
    )
    emotion_reason: EmotionReason = None

    @model_validator(mode="after")
    def _clip_is_a_range(self) -> Numeric:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise KeyedError("clip", f"expected [lowest, highest], found {list(self.clip)}")
        return self


Feature = Annotated[Categorical | Numeric, Field(discriminator="type")]


class Steps(Section):
    """The sequence: which columns of the events are inputs, and how much of the past is seen."""

    history: Literal["unit", "learner"] = Field(
        "unit",
        description="whose events are seen: of the learner in the outcome's unit, or of the "
        "learner in any unit; the latter needs a clock that all units share",
    )
    shared: bool = Field(
        False,
        description="fit to one sequence for all outcomes along it, read in one pass and on one "
        "device, instead of one for each; for learners with many outcomes. A longer sequence than "
        "`max_steps` is cut into chunks that overlap by half. No feature may depend on the "
        "outcome, as `time_to_as_of` and `same_unit` do",
    )
    max_steps: int = Field(
        100, ge=1, le=10_000, description="how many of the last events before `as_of` are seen"
    )
    min_steps: int = Field(
        1,
        ge=1,
        description="with fewer events than this the answer is the prior of the learner's group",
    )
    features: dict[InputName, Feature] = Field(
        description="columns of events, plus `time_since_previous`, `time_to_as_of` and, with "
        "`history: learner`, `step_unit` (the unit of the event) and `same_unit` (1 where it is "
        "the outcome's, otherwise 0), by name",
        min_length=1,
    )

    @model_validator(mode="after")
    def _min_fits_max(self) -> Steps:
        if self.min_steps > self.max_steps:
            raise KeyedError(
                "min_steps",
                f"expected at most max_steps ({self.max_steps}), found {self.min_steps}",
            )

        # In a later chunk an outcome may see only `fewest` steps. With a higher `min_steps` it
        # would be taken for a cold start, however long its past.
        fewest = self.max_steps // 2 + 1
        if self.shared and self.min_steps > fewest:
            raise KeyedError(
                "min_steps",
                f"expected at most {fewest} with `shared: true`, as chunks of max_steps "
                f"({self.max_steps}) overlap by half, found {self.min_steps}",
            )
        return self

    @model_validator(mode="after")
    def _features_fit_the_history(self) -> Steps:
        for name, kind in ((STEP_UNIT, "categorical"), (SAME_UNIT, "numeric")):
            feature = self.features.get(name)
            if feature is None:
                continue
            if self.history == "unit":
                raise KeyedError(
                    ("features", name),
                    "expected it with `history: learner` only; with `history: unit` all events "
                    "are of the outcome's unit",
                )
            if feature.type != kind:
                raise KeyedError(
                    ("features", name, "type"), f"expected {kind}, found {feature.type}"
                )

        found = [name for name in OUTCOME_STEPS if name in self.features]
        if self.shared and found:
            raise KeyedError(
                ("features", found[0]),
                "expected no feature that differs from outcome to outcome with `shared: true`",
            )
        return self


class Prior(Section):
    """The answer for a cold start: the smoothed mean label of cold starts in the learner's group.

    A cold start is an outcome with fewer than `steps.min_steps` events before it.
    """

    group_by: list[InputName] = Field(
        default_factory=lambda: ["unit_id"],
        description="columns of outcomes that make a group, the most open one first: a group that "
        "is not in the training split gets the prior of its columns without the first, and so on; "
        "[] for one prior",
    )
    smoothing: float = Field(
        20.0,
        ge=0,
        description="how many examples of the next wider level are mixed into each mean: of the "
        "group without its first column, or the whole training split, into a group's; of the "
        "group into its cold starts'",
    )
    allow_protected: bool = Field(
        False, description="must be true to group by a column listed in `protected`"
    )
    emotion_reason: EmotionReason = None


class Transformer(Section):
    """Layers of causal self-attention, whose weights depend on how many steps lie between."""

    width: int = Field(64, ge=1, description="width of a step's state; a multiple of `heads`")
    heads: int = Field(4, ge=1, description="parts that attend to different steps")
    layers: int = Field(2, ge=1, description="how many layers, one on top of the other")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Transformer:
        if self.width % self.heads:
            raise KeyedError(
                "width", f"expected a multiple of heads ({self.heads}), found {self.width}"
            )
        return self


class Model(Section):
    """The sequence model: LSTMs or a transformer, dense layers, softmax (or one linear output)."""

    kind: Literal["lstm", "transformer"] = Field(
        "lstm", description="what reads the sequence: stacked LSTMs, or a causal transformer"
    )
    lstm: list[PositiveInt] = Field(
        default_factory=lambda: [64, 32],
        description="units of each LSTM; all but the last return sequences",
        min_length=1,
    )
    transformer: Transformer = Field(
        default_factory=lambda: Transformer(), description="its layers, with `kind: transformer`"
    )
    pooling: Literal["last", "attention"] = Field(
        "last",
        description="what is answered from: the state after the last step, or that state beside a "
        "mean of all states, weighted by attention",
    )
    summaries: bool = Field(
        False,
        description="read counts, rates and recent values of the sequence beside its state: those "
        "that the simple models read",
    )
    interaction: bool = Field(
        False,
        description="read products too: of the words and the numbers of a step, so that a right "
        "answer can mean something else in every unit; and of the state and the context, so that "
        "`unit_id` can choose what of the state matters to it",
    )
    dense: list[PositiveInt] = Field(
        default_factory=lambda: [64], description="units of each dense layer"
    )
    dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of units dropped after each dense layer; in a transformer at most .1",
    )


class Training(Section):
    """How the model is fitted."""

    epochs: int = Field(30, ge=1, description="most passes over the training split")
    batch_size: int = Field(
        128,
        ge=1,
        description="examples in a batch, all devices together; with `steps.shared` sequences on "
        "average: a batch of shorter ones holds more, so that batches have equally many outcomes",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate")
    patience: int = Field(
        4, ge=1, description="epochs without a better eval loss before training stops"
    )
    decay: float = Field(
        0.3,
        gt=0,
        le=1,
        description="factor on the learning rate after half of `patience` epochs without a better "
        "eval loss; 1: none",
    )
    class_weights: Literal["balanced", "none"] | dict[str, Weight] = Field(
        "balanced",
        description="weight of each class in the loss: balanced, none, or a number for each class",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="where it is fitted: auto, on GPUs if TensorFlow sees any, otherwise on the "
        "CPU; cpu; gpu, and the run fails if TensorFlow sees none",
    )
    workers: int = Field(
        1,
        ge=1,
        description="processes that share each batch; the results are those of one, to rounding. "
        "Each gets a GPU of its own if there are any, otherwise a part of the CPU's cores",
    )
    # Excluded from every dump, as `push.signing_key` is: where workers meet changes no model.
    worker_folder: Address | None = Field(
        None,
        exclude=True,
        description="a folder that several machines share, which workers join by `mastery "
        "training-worker`; none: workers are processes of the machine that trains",
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="precision of the layers' computations while the model is fitted; weights, the "
        "answer and the served model are always float32. mixed_bfloat16: for GPUs from NVIDIA's "
        "Ampere on; it works on CPUs too, but a fit was no faster on one with AVX512_BF16. "
        "mixed_float16: for older GPUs",
    )
    seed: int = Field(7, ge=0, description="same seed, same data, same machine: same model")
    warm_start: bool = Field(
        False,
        description="start from the latest blessed model that was fitted to other data than this "
        "run's",
    )
    start_from: Address | None = Field(
        None,
        description="folder of a pushed version to start from, also of another log: weights are "
        "taken over layer by layer and word by word where they fit",
    )
    calibration: Literal["temperature", "none"] = Field(
        "temperature",
        description="divides the logits by a temperature that is fitted on the eval split, so that "
        "probabilities are neither too bold nor too timid; the classes answered do not change",
    )
    gpu_export: bool = Field(
        False,
        description="export the model a second time, for servers with a GPU, with cuDNN's fused "
        "LSTM; TensorFlow can do so only if it trains on a GPU, otherwise the run reports that "
        "there is no such export. A transformer needs none",
    )
    histograms: bool = Field(
        True, description="write histograms of the weights for TensorBoard, every epoch"
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _integers_as_digits(cls, value: object) -> object:
        return integers_as_digits(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _device_fits_the_rest(self) -> Training:
        if self.device == "cpu" and self.precision == "mixed_float16":
            raise KeyedError(
                "precision",
                "expected float32 or mixed_bfloat16 with device: cpu, found mixed_float16, "
                "which is for GPUs",
            )
        if self.device == "cpu" and self.gpu_export:
            raise KeyedError(
                "gpu_export",
                "expected false with device: cpu, found true; that export is made on a GPU",
            )
        return self

    @model_validator(mode="after")
    def _workers_fit_the_rest(self) -> Training:
        if self.workers > self.batch_size:
            raise KeyedError(
                "workers",
                f"expected at most batch_size ({self.batch_size}), found {self.workers}; each "
                "worker needs a part of every batch",
            )
        return self

    def as_environment(self) -> dict[str, str]:
        """Returns variables that pass on to nodes what no dump of this section holds."""
        folder = os.environ.get(WORKER_FOLDER) or self.worker_folder
        return {WORKER_FOLDER: str(Path(folder).absolute())} if folder else {}

    @model_validator(mode="after")
    def _one_start(self) -> Training:
        if self.warm_start and self.start_from is not None:
            raise KeyedError("start_from", "expected none with warm_start: true, found both")
        return self
