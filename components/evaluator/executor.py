"""The Evaluator's executor: judges the model in its artifact, and records the blessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx.components.evaluator import constants
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.contracts.names import EVAL, TEST, TRAIN
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.files.atomic import write_text
from components.serving_check.standby import prepare_model


class Executor(BaseExecutor):  # type: ignore[misc]
    """Judges the candidate on the test split, beside the blessed model where there is one."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation and the blessing.

        A failed gate raises nothing here: the nodes after this one still report it.

        Raises:
            MasteryError: the test split is empty, or the candidate does not fit it.
        """
        # Imports TensorFlow and TFMA, which building the pipeline does not need.
        from components.evaluator.evaluate import judge_model

        settings = EvaluatorSettings.from_property(exec_properties["config"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        prepare_model(_saved_model(model))  # ServingCheck comes next

        configured = settings.evaluation.baseline
        baseline = None if configured else _resolved_baseline(input_dict)

        evaluation = judge_model(
            examples=Path(artifact_utils.get_split_uri(input_dict["examples"], TEST)),
            model=_saved_model(model),
            baseline=_baseline_folder(configured, baseline),
            settings=settings,
            folder=Path(artifact_utils.get_single_uri(output_dict["evaluation"])),
            fitted_to={
                split: Path(artifact_utils.get_split_uri(input_dict["examples"], split))
                for split in (TRAIN, EVAL)
            },
            model_run=_model_run(input_dict),
        )

        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        bless(blessing, model, baseline, blessed=bool(evaluation.blessed))
        if configured:
            # It is not an artifact of this store, but the manifest names the baseline.
            blessing.set_string_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, configured
            )


def _resolved_baseline(inputs: dict[str, list[Artifact]]) -> Artifact | None:
    found = inputs.get("baseline_model") or []
    return artifact_utils.get_single_instance(found) if found else None


def _model_run(inputs: dict[str, list[Artifact]]) -> Path | None:
    found = inputs.get("model_run") or []
    return Path(artifact_utils.get_single_uri(found)) if found else None


def _baseline_folder(configured: str | None, baseline: Artifact | None) -> Path | None:
    if configured:
        return Path(configured)
    return _saved_model(baseline) if baseline else None


def bless(blessing: Artifact, model: Artifact, baseline: Artifact | None, *, blessed: bool) -> None:
    """Fills a ModelBlessing as TFX's own Evaluator does; its resolvers and Pusher understand it.

    Args:
        blessing: the artifact to fill.
        model: the model that was judged.
        baseline: the one it was compared with.
        blessed: whether it passed.
    """
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri
        )
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id
        )

    if blessed:
        name, value = constants.BLESSED_FILE_NAME, constants.BLESSED_VALUE
    else:
        name, value = constants.NOT_BLESSED_FILE_NAME, constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    write_text(Path(blessing.uri, name), "")


def _saved_model(artifact: Artifact) -> Path:
    return Path(path_utils.serving_model_path(artifact.uri))
