"""Everything that the papers of a version say, read from the artifacts of its run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.evaluation import Evaluation
from components.contracts.log_summary import LogSummary
from components.contracts.names import TEST
from components.contracts.papers import Blank
from components.contracts.training_history import TrainingHistory
from components.report.split_statistics import FeatureFacts, describe_features, read_statistics

if TYPE_CHECKING:
    from components.config.root import Config
    from components.contracts.manifest import Manifest


@dataclass(frozen=True)
class VersionFacts:
    """What is known of a version.

    Attributes:
        config: what it was made with.
        manifest: what made it, with its number.
        metrics: the bytes of the Evaluator's `metrics.json`.
        evaluation: what they hold.
        log: what the log holds; None without a summary of it.
        features: TFDV's statistics of each split.
        training: how it was fitted; None if that is unknown.
    """

    config: Config
    manifest: Manifest
    metrics: bytes
    evaluation: Evaluation
    log: LogSummary | None = None
    features: dict[str, list[FeatureFacts]] = field(default_factory=dict)
    training: TrainingHistory | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name

    @property
    def number(self) -> int:
        """The version's number; 0 for a model without one."""
        return self.manifest.version or 0

    @property
    def blanks(self) -> list[Blank]:
        """What the provider has not written."""
        missing = self.config.papers.blanks
        return [Blank(key=key, meaning=meaning) for key, meaning in missing.items()]

    @property
    def written(self) -> dict[str, str]:
        """What the provider has written, by key."""
        texts = self.config.papers.model_dump()
        return {key: text.strip() for key, text in texts.items() if text.strip()}

    def of(self, manifest: Manifest) -> VersionFacts:
        """Returns the facts of the same model as the version of another manifest."""
        return replace(self, manifest=manifest)


def load_facts(
    config: Config,
    manifest: Manifest,
    *,
    evaluation: Path,
    examples: Path,
    statistics: Path,
    model_run: Path,
) -> VersionFacts:
    """Returns the facts of a version; of the artifacts, only the evaluation has to be complete.

    Args:
        config: what the version was made with.
        manifest: what made it.
        evaluation: folder of the Evaluator's artifact.
        examples: folder of ExampleGen's artifact.
        statistics: folder of StatisticsGen's artifact.
        model_run: folder of the Trainer's artifact.

    Raises:
        ContractError: a file cannot be used.
        OSError: a file cannot be read.
    """
    metrics = (evaluation / Evaluation.FILE).read_bytes()
    has_summary = (examples / LogSummary.FILE).exists()
    has_history = (model_run / TrainingHistory.FILE).exists()
    return VersionFacts(
        config=config,
        manifest=manifest,
        metrics=metrics,
        evaluation=Evaluation.from_json(metrics),
        log=LogSummary.read(examples) if has_summary else None,
        features=_read_features(config, statistics),
        training=TrainingHistory.read(model_run) if has_history else None,
    )


def _read_features(config: Config, statistics: Path) -> dict[str, list[FeatureFacts]]:
    steps = frozenset(config.steps.features)
    features = {
        split: describe_features(dataset, steps, config.label.column)
        for split, dataset in read_statistics(statistics).items()
    }
    if config.steps.shared and TEST in features:
        # There, an event counts once for every outcome that sees it; in the other splits once.
        features[TEST] = [feature for feature in features[TEST] if feature.name not in steps]
    return features
