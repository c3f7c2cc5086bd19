"""Checks the Trainer's model as a server would run it, and adds warm-up requests to a copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.contracts.names import PREDICTIONS_FILE, TEST
from components.files.atomic import write_text
from components.model_version.exports import exports
from components.node.settings import ServingCheckSettings
from components.serving_check.check import check_serving
from components.serving_check.questions import choose, find_examples
from components.serving_check.replay import ServingError, write_requests
from components.serving_check.standby import AnsweringProcess

BLESSED = "INFRA_BLESSED"  # the file and the property by which TFX knows an infra blessing


class Executor(BaseExecutor):  # type: ignore[misc]
    """Fails if the served model would give other answers than the evaluated ones."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the model with its warm-up requests, and a blessing like TFX's InfraValidator.

        Raises:
            ServingError: the model breaks the contract, does not load, or its answers differ from
                the evaluation.
        """
        # It imports TensorFlow and loads the model while examples are read here.
        with AnsweringProcess() as process:
            self._check(process, input_dict, output_dict, exec_properties)

    def _check(
        self,
        process: AnsweringProcess,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        settings = ServingCheckSettings.from_property(exec_properties["config"])
        inputs = {
            name: artifact_utils.get_single_instance(found) for name, found in input_dict.items()
        }
        source = Path(path_utils.serving_model_path(inputs["trained_model"].uri))
        process.prepare(source)

        predictions = pl.read_parquet(Path(inputs["evaluation"].uri, PREDICTIONS_FILE))
        chosen = choose(predictions, settings.check_examples)
        examples = _examples(inputs["examples"], chosen)
        warmup = check_serving(source, chosen, examples, settings.warmup_requests, process)

        checked = artifact_utils.get_single_uri(output_dict["model"])
        target = Path(path_utils.serving_model_path(checked))
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        if warmup:
            for folder in exports(source).values():
                write_requests(Path(path_utils.warmup_file_path(str(target / folder))), warmup)

        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        write_text(Path(blessing.uri, BLESSED), "")
        blessing.set_int_custom_property("blessed", 1)


def _examples(artifact: Artifact, chosen: pl.DataFrame) -> list[bytes]:
    """Returns the serialized example of each chosen row.

    Raises:
        ServingError: the test split lacks some of them.
    """
    folder = Path(artifact_utils.get_split_uri([artifact], TEST))
    files = [str(file) for file in folder.iterdir()]
    examples = find_examples(files, chosen)
    found = [example for example in examples if example is not None]
    if not found or len(found) < len(examples):
        raise ServingError(
            f"The split {TEST} has {len(found)} of the {len(examples)} examples to replay; "
            "evaluation and examples have to come from the same run."
        )
    return found
