"""The Evaluator's part of the configuration, and which model can be the baseline under it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from components.config.beam import Beam
from components.config.data import Label
from components.config.decisions import Decision, EarlyWarning
from components.config.fairness import Fairness, compared_columns
from components.config.gates import EvaluationRules, Gate
from components.config.training import Feature, Prior, Steps
from components.config.uncertainty import Explain, Uncertainty
from components.contracts.model_card import ModelCard
from components.contracts.names import DAYS_SEEN, TIME_TO_AS_OF
from components.errors import MasteryError
from components.model_version.folders import SAVED_MODEL
from components.model_version.verify import model_digest
from components.node.settings import NodeSettings

if TYPE_CHECKING:
    from components.config.root import Config


class EvaluatorSettings(NodeSettings):
    """The sections that the Evaluator reads."""

    label: Label
    steps: Steps
    context: dict[str, Feature]
    prior: Prior
    evaluation: EvaluationRules
    uncertainty: Uncertainty
    decisions: list[Decision]
    explain: Explain
    fairness: Fairness
    protected: list[str]
    gates: list[Gate]
    beam: Beam

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the Evaluator's part of `config`; of the section `beam` only `args`."""
        return super().of(config.model_copy(update={"beam": Beam(args=config.beam.args)}))

    @property
    def slice_columns(self) -> list[str]:
        """All columns that slices and compared groups are made of, each once."""
        lists = [*self.evaluation.slices, *self.compared]
        return [*dict.fromkeys(name for names in lists for name in names)]

    @property
    def compared(self) -> list[list[str]]:
        """The lists of columns whose groups are compared for fairness."""
        return compared_columns(self.fairness, self.evaluation, self.protected)

    @property
    def kept_columns(self) -> list[str]:
        """All columns that predictions are kept with: those of slices and of the days seen."""
        early = self.evaluation.early_warning or EarlyWarning()
        days = [] if early.by or TIME_TO_AS_OF not in self.steps.features else [DAYS_SEEN]
        return [*dict.fromkeys([*self.slice_columns, *early.columns, *days])]

    @property
    def input_columns(self) -> set[str]:
        """All columns that the configured model reads."""
        return {*self.steps.features, *self.context, *self.prior.group_by}


def digest_baseline(folder: str | None) -> str:
    """Returns the digest of the model in `evaluation.baseline`, "" if none is configured.

    It is part of the cache key: a new model at the same path is compared with again.

    Raises:
        MasteryError: the folder holds no model.
    """
    if folder is None:
        return ""
    if not Path(folder, SAVED_MODEL).is_file():
        raise MasteryError(
            "evaluation.baseline: expected a pushed version such as "
            f"runs/NAME/serving/1234567890, found no {SAVED_MODEL} in {folder}."
        )
    return model_digest(Path(folder))


def why_not_comparable(model: Path, settings: EvaluatorSettings) -> str | None:
    """Returns why a blessed model cannot be the baseline for these examples, or None if it can.

    A model of other classes has other metrics. A model that reads columns which the examples no
    longer have would answer without them, and be judged by that. A model without a card is not
    checked.
    """
    if not (model / ModelCard.FILE).exists():
        return None
    config = ModelCard.read(model).config

    expected = _describe_label(settings.label.model_dump())
    found = _describe_label(config["label"])
    for key, value in expected.items():
        if found[key] != value:
            return (
                "the blessed model was made for another label: "
                f"expected {key} {value}, found {found[key]}"
            )

    inputs = {*config["steps"]["features"], *config["context"], *config["prior"]["group_by"]}
    gone = sorted(inputs - settings.input_columns)
    if gone:
        return f"the blessed model reads columns that are no longer inputs: {', '.join(gone)}"
    return None


def _describe_label(label: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what two comparable models have in common; the order of classes does not matter."""
    return {
        "column": label["column"],
        "task": label["task"],
        "classes": sorted(label["classes"]),
    }
