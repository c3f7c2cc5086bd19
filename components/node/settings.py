"""The part of the configuration that a node reads, without what the node imports to execute."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from pydantic import Field

from components.config.data import Label
from components.config.decisions import Decision
from components.config.fairness import Remedies
from components.config.section import InputName, Section
from components.config.training import Feature, Model, Prior, Steps, Training
from components.config.uncertainty import Explain, Uncertainty

if TYPE_CHECKING:
    from components.config.root import Config


class NodeSettings(Section):
    """The sections of the configuration that a node reads; a change of others does not rerun it.

    A node declares the sections as fields. They reach its executor as one property:

    ```python
    class LabelSettings(NodeSettings):
        label: Label

    settings = LabelSettings.of(config)
    assert LabelSettings.from_property(settings.to_property()) == settings
    ```
    """

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the node's part of `config`."""
        return cls.from_property(config.section_json(*cls.model_fields))

    @classmethod
    def from_property(cls, text: str) -> Self:
        """Returns what `to_property` wrote."""
        return cls.model_validate_json(text)

    def to_property(self) -> str:
        """Returns canonical JSON: the same text for the same settings, as a cache key needs it."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)


class TransformSettings(NodeSettings):
    """The part of the configuration that Transform reads.

    Attributes:
        summaries: whether the network reads summaries; of the section `model` only this.
        reweigh: the protected column that examples are weighted by; of `fairness` only this.
    """

    steps: Steps
    context: dict[InputName, Feature]
    prior: Prior
    label: Label
    summaries: bool = False
    reweigh: str | None = None

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the node's part of `config`."""
        sections = {name: getattr(config, name) for name in ("steps", "context", "prior", "label")}
        return cls(**sections, summaries=config.model.summaries, reweigh=config.fairness.reweigh)


class TrainerSettings(NodeSettings):
    """The part of the configuration that makes a model."""

    name: str = Field(description="name of the served model")
    label: Label = Field(description="what is predicted")
    steps: Steps = Field(description="the sequence the model reads")
    context: dict[InputName, Feature] = Field(description="inputs beside the sequence")
    prior: Prior = Field(description="the answer for a cold start")
    model: Model = Field(description="the network")
    training: Training = Field(description="how it is fitted")
    uncertainty: Uncertainty = Field(
        default_factory=Uncertainty, description="how sure answers are said to be"
    )
    decisions: list[Decision] = Field(
        default_factory=list, description="what is done about learners, and when"
    )
    explain: Explain = Field(default_factory=Explain, description="how answers are explained")
    remedies: Remedies = Field(
        default_factory=Remedies, description="what is done about gaps between groups"
    )
    seeds: int = Field(1, description="how many models are fitted, each from another seed")

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the node's part of `config`: of `evaluation` seeds, of `fairness` remedies.

        Other words for who a decision is about change no model.
        """
        sections = json.loads(config.section_json(*cls.model_fields))
        sections["decisions"] = [{**item, "who": None} for item in sections["decisions"]]
        sections["remedies"] = Remedies.of(config.fairness)
        return cls.model_validate({**sections, "seeds": config.evaluation.seeds})


class ServingCheckSettings(NodeSettings):
    """The keys of the section `push` that ServingCheck reads; a new folder does not rerun it."""

    check_examples: int = Field(description="test examples that are replayed")
    warmup_requests: int = Field(description="requests written into the model")

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the node's part of `config`."""
        push = config.push
        return cls(check_examples=push.check_examples, warmup_requests=push.warmup_requests)
