"""The network and how it is fitted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from components.config.section import KeyedError, Section

Weight = Annotated[float, Field(gt=0)]


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
        description="factor on the learning rate after half of `patience` epochs without a better eval loss; 1: none",
    )
    class_weights: Literal["balanced", "none"] | dict[str, Weight] = Field(
        "balanced",
        description="weight of each class in the loss: balanced, none, or a number for each class",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="what it is fitted on: auto, GPUs where TensorFlow sees some, else the CPU; cpu; gpu, and the run "
        "fails where TensorFlow sees none",
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="what layers compute in while the model is fitted; weights, the answer and the served model are "
        "float32 in any case. mixed_bfloat16: for GPUs from NVIDIA's Ampere on, and recent CPUs; mixed_float16: for "
        "older GPUs",
    )
    seed: int = Field(7, ge=0, description="same seed, same data, same machine: same model")
    warm_start: bool = Field(
        False,
        description="start from the latest blessed model that was fitted to other data than this run's",
    )
    gpu_export: bool = Field(
        False,
        description="export the model a second time, for servers with a GPU, with cuDNN's fused LSTM; TensorFlow "
        "can do so only where it trains on a GPU, elsewhere the run says that there is none",
    )
    histograms: bool = Field(
        True, description="write histograms of the weights for TensorBoard, every epoch"
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _integers_as_digits(cls, value: object) -> object:
        # As in `label.classes`: YAML reads 0 for a number.
        if not isinstance(value, dict):
            return value
        return {str(key) if isinstance(key, int) and not isinstance(key, bool) else key: item
                for key, item in value.items()}  # fmt: skip

    @model_validator(mode="after")
    def _device_fits_the_rest(self) -> Training:
        if self.device == "cpu" and self.precision == "mixed_float16":
            raise KeyedError(
                "precision",
                "expected float32 or mixed_bfloat16 with device: cpu, found mixed_float16, which is for GPUs",
            )
        if self.device == "cpu" and self.gpu_export:
            raise KeyedError(
                "gpu_export",
                "expected false with device: cpu, found true; that export is made on a GPU",
            )
        return self
