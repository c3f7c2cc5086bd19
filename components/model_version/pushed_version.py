"""Writes and reads the manifest of a pushed version."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from components.config.data import absolute_pattern
from components.config.root import Config
from components.config.spans import NEWEST
from components.contracts.contract import ContractError
from components.contracts.manifest import Manifest, RecordedDecision, RecordedGate
from components.contracts.model_card import ModelCard
from components.contracts.serving_state import who_pushes
from components.errors import MasteryError, VersionError
from components.model_version.exports import exports
from components.model_version.folders import find_versions
from components.model_version.signature import Trust, verify_signature
from components.model_version.verify import (
    combined_digest,
    file_digests,
    find_root,
    verify_version,
)

if TYPE_CHECKING:
    from components.config.outcomes import DerivedOutcomes
    from components.contracts.evaluation import Evaluation
    from components.contracts.provenance import DataProvenance


def describe_push(
    model: Path,
    *,
    run: str,
    config: Config,
    data: DataProvenance,
    evaluation: Evaluation,
    baseline: str | None,
) -> Manifest:
    """Returns the manifest of a model, without the number that its version gets.

    Args:
        model: the SavedModel's folder.
        run: id of the pipeline run.
        config: what the run was configured with.
        data: where the examples came from.
        evaluation: what the Evaluator measured.
        baseline: URI of the blessed model that the gates compared with, if there was one.

    Raises:
        ContractError: the model card is missing or cannot be used.
        VersionError: the model card names an export outside the model.
        OSError: a file cannot be read.
    """
    card = ModelCard.read(model)
    files = file_digests(model)
    gates = [gate.model_dump(by_alias=True) for gate in evaluation.gates]

    return Manifest(
        name=config.name,
        run=run,
        pushed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        pushed_by=who_pushes(os.environ),
        data=data,
        code=card.code,
        config=config.recipe,
        config_fingerprint=config.fingerprint,
        metrics=evaluation.overall.metrics,
        decisions=_recorded_decisions(evaluation),
        gates=[RecordedGate.model_validate(gate) for gate in gates],
        model_sha256=combined_digest(files),
        files=files,
        exports=exports(model),
        baseline=baseline,
    )


def _recorded_decisions(evaluation: Evaluation) -> list[RecordedDecision]:
    return [
        RecordedDecision(
            name=item.name,
            class_=item.class_,
            threshold=item.threshold,
            purpose=item.purpose,
            aim=item.aim,
            note=item.note,
            measured=evaluation.overall.decisions.get(item.name),
            early_warning=item.early_warning.headline if item.early_warning else "",
        )
        for item in evaluation.decisions
    ]


def config_of(model: Path, *, name: str) -> Config:
    """Returns the configuration that a version was made with, from its manifest.

    Args:
        model: a pushed version's folder.
        name: what the user called the version, for the error.

    Raises:
        MasteryError: the folder is not that of a pushed version.
    """
    expected = f"{name}: expected a pushed version such as runs/NAME/serving/1234567890"
    try:
        config = Manifest.read(model).config
    except ContractError as error:
        raise MasteryError(f"{expected}. {error}") from None

    if config is None:
        raise MasteryError(f"{expected}, found no configuration in its {Manifest.FILE}.")

    try:
        return Config.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise MasteryError(
            f"{name}: the configuration in its {Manifest.FILE} cannot be used: {key}: "
            f"{first['msg']}. Push the model again with this version of Mastery."
        ) from None


def config_for_log(model: Path, events: list[str], outcomes: list[str], *, name: str) -> Config:
    """Returns the configuration that a version was made with, but for another log.

    Args:
        model: a pushed version's folder.
        events: files, folders or patterns of the other log.
        outcomes: the same for its outcomes, with labels; none where the version's are derived,
            which then follow from the events.
        name: what the user called the version, for the error.

    Raises:
        MasteryError: the folder is not that of a pushed version, or it was made with a table of
            outcomes, and none is given.
        VersionError: its files are not those that were pushed.
    """
    config = config_of(model, name=name)
    verify_version(model.resolve(), within=model.resolve().parent)

    here = Path.cwd()
    log = {
        "events": [absolute_pattern(path, here) for path in events],
        "outcomes": _other_outcomes(config, [absolute_pattern(path, here) for path in outcomes]),
        "span": NEWEST,
        "replay": 0.0,
        "sample_learners": None,
    }
    return config.model_copy(update={"data": config.data.model_copy(update=log)})


def _other_outcomes(config: Config, outcomes: list[str]) -> list[str] | DerivedOutcomes:
    if outcomes:
        return outcomes
    if config.data.derived is None:
        raise MasteryError(
            "--outcomes: expected the outcomes of the events, since this version was made with a "
            "table of them, found none."
        )
    return config.data.derived.model_copy(update={"until": None})  # another log ends elsewhere


def model_name(folder: Path, trust: Trust | None = None) -> str:
    """Returns the name of the model whose versions are in a folder.

    It is the name in the newest manifest that has one; without any, the folder's own name.

    Args:
        folder: the folder with the versions.
        trust: whose signature a version has to have for its manifest to count; None where none is
            asked for.

    Raises:
        OSError: the folder cannot be read.
        KeyFileError: the key cannot be read.
    """
    for path in reversed(find_versions(folder).paths.values()):
        try:
            if trust is not None:
                verify_signature(find_root(path, folder), trust)
            name = Manifest.read(path).name
        except (ContractError, VersionError):
            continue
        if name:
            return name
    return folder.resolve().name
