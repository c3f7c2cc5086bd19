"""What the model reads, the network, and how it is fitted."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, field_validator, model_validator

from components.config.section import Bound, KeyedError, Section, integers_as_digits


def _is_plain(name: str) -> str:
    # It becomes the name of a tensor in the served model, and tensors allow little else.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"expected letters, digits and _ in the name of an input, found {name!r}; "
            "rename the column"
        )
    return name


InputName = Annotated[str, AfterValidator(_is_plain)]
Weight = Annotated[float, Field(gt=0)]


class Categorical(Section):
    """A column of names: one embedding per word of a vocabulary learned on the training split."""

    type: Literal["categorical"] = Field(description="a column of names")
    vocabulary: int = Field(
        1000, ge=1, description="most frequent words kept; the rest share out-of-vocabulary ids"
    )
    embedding: int = Field(16, ge=1, description="width of the embedding")
    allow_protected: bool = Field(
        False,
        description="must be true for a column listed in `protected` to be an input of the model",
    )


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

    @model_validator(mode="after")
    def _clip_is_a_range(self) -> Numeric:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise KeyedError("clip", f"expected [lowest, highest], found {list(self.clip)}")
        return self


Feature = Annotated[Categorical | Numeric, Field(discriminator="type")]


class Steps(Section):
    """The sequence: which columns of the events are inputs, and how much of the past is seen."""

    max_steps: int = Field(
        100, ge=1, le=10_000, description="how many of the last events before `as_of` are seen"
    )
    min_steps: int = Field(
        1,
        ge=1,
        description="with fewer events than this the answer is the prior of the learner's group",
    )
    features: dict[InputName, Feature] = Field(
        description="columns of events, plus `time_since_previous` and `time_to_as_of`, by name",
        min_length=1,
    )

    @model_validator(mode="after")
    def _min_fits_max(self) -> Steps:
        if self.min_steps > self.max_steps:
            raise KeyedError(
                "min_steps",
                f"expected at most max_steps ({self.max_steps}), found {self.min_steps}",
            )
        return self


class Prior(Section):
    """The answer for a cold start: the smoothed mean label of cold starts in the learner's group.

    A cold start is an outcome with fewer than `steps.min_steps` events before it.
    """

    group_by: list[InputName] = Field(
        default_factory=lambda: ["unit_id"],
        description="columns of outcomes that make a group; [] for one prior",
    )
    smoothing: float = Field(
        20.0,
        ge=0,
        description="how many examples of the wider level are mixed into each mean: of the whole "
        "training split into a group's, of the group into its cold starts'",
    )
    allow_protected: bool = Field(
        False, description="must be true to group by a column listed in `protected`"
    )


class Model(Section):
    """The sequence model: stacked LSTMs, dense layers, dropout, softmax (or one linear output)."""

    lstm: list[PositiveInt] = Field(
        default_factory=lambda: [64, 32],
        description="units of each LSTM; all but the last return sequences",
        min_length=1,
    )
    dense: list[PositiveInt] = Field(
        default_factory=lambda: [64], description="units of each dense layer"
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="share of units dropped after each dense layer"
    )


class Training(Section):
    """How the model is fitted."""

    epochs: int = Field(30, ge=1, description="most passes over the training split")
    batch_size: int = Field(128, ge=1, description="examples in a batch, all devices together")
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
    gpu_export: bool = Field(
        False,
        description="export the model a second time, for servers with a GPU, with cuDNN's fused "
        "LSTM; TensorFlow can do so only if it trains on a GPU, otherwise the run reports that "
        "there is no such export",
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
