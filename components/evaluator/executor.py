"""Unwraps the artifacts of an evaluation, and blesses the model or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx.components.evaluator import constants
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.evaluator.settings import Settings
from components.files.atomic import write_text

SPLIT = "test"


class Executor(BaseExecutor):  # type: ignore[misc]
    """Judges the candidate on the test split, beside the blessed model where there is one."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation and the blessing. A gate that fails is no error here: the report is still to come.

        Raises:
            MasteryError: the test split is empty, or the candidate does not fit it.
        """
        from components.evaluator.evaluate import (
            judge_model,  # TensorFlow and TFMA: not for building the pipeline
        )

        model = artifact_utils.get_single_instance(input_dict["model"])
        baselines = input_dict.get("baseline_model") or []
        settings = Settings.model_validate_json(exec_properties["config"])
        named = settings.evaluation.baseline
        baseline = (
            artifact_utils.get_single_instance(baselines) if baselines and not named else None
        )
        metrics = judge_model(
            examples=Path(artifact_utils.get_split_uri(input_dict["examples"], SPLIT)),
            model=_saved_model(model),
            baseline=Path(named) if named else _saved_model(baseline) if baseline else None,
            settings=settings,
            evaluation=Path(artifact_utils.get_single_uri(output_dict["evaluation"])),
        )
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        bless(blessing, model, baseline, blessed=metrics["blessed"])
        if named:  # no artifact of this store, but the model's manifest is to say what it was compared with
            blessing.set_string_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, named
            )


def bless(blessing: Artifact, model: Artifact, baseline: Artifact | None, *, blessed: bool) -> None:
    """Fills a ModelBlessing as TFX's own Evaluator does, so that its resolvers and Pusher understand it.

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
    value = constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    write_text(Path(blessing.uri, name), "")


def _saved_model(artifact: Artifact) -> Path:
    return Path(path_utils.serving_model_path(artifact.uri))
