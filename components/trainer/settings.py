"""The part of the configuration that makes a model."""

from __future__ import annotations

from pydantic import Field

from components.config import Feature, Label, Model, Prior, Steps, Training
from components.config.section import Section
from components.config.training import InputName

SECTIONS = ("name", "label", "steps", "context", "prior", "model", "training")


class Settings(Section):
    """The sections `SECTIONS` of a configuration, typed; other sections do not change a model."""

    name: str = Field(description="name of the served model")
    label: Label = Field(description="what is predicted")
    steps: Steps = Field(description="the sequence the model reads")
    context: dict[InputName, Feature] = Field(description="inputs beside the sequence")
    prior: Prior = Field(description="the answer for a cold start")
    model: Model = Field(description="the network")
    training: Training = Field(description="how it is fitted")
