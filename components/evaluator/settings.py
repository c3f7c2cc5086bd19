"""The sections of the configuration that the evaluator goes by."""

from __future__ import annotations

from components.config.data import Label
from components.config.gates import Evaluation, Gate
from components.config.root import Config
from components.config.runtime import Beam
from components.config.section import Section
from components.config.training import Feature, Prior, Steps


class Settings(Section):
    """A part of the configuration, under the same names; only a change in it makes the evaluator run again."""

    label: Label
    steps: Steps
    context: dict[str, Feature]
    prior: Prior
    evaluation: Evaluation
    gates: list[Gate]
    beam: Beam

    @classmethod
    def json_of(cls, config: Config) -> str:
        """Returns the evaluator's part of `config` as canonical JSON."""
        return config.section_json(*cls.model_fields)

    @classmethod
    def of(cls, config: Config) -> Settings:
        """Returns the evaluator's part of `config`."""
        return cls.model_validate_json(cls.json_of(config))

    @property
    def slice_columns(self) -> list[str]:
        """All columns that slices are made of, each once."""
        return [*dict.fromkeys(name for names in self.evaluation.slices for name in names)]

    @property
    def input_columns(self) -> set[str]:
        """All columns that the configured model reads."""
        return {*self.steps.features, *self.context, *self.prior.group_by}
