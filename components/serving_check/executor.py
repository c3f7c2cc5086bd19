"""Checks the Trainer's model as a server would run it, and hands on a copy with warm-up requests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.contracts.names import SPLITS
from components.files.atomic import write_text
from components.model_version.exports import exports
from components.serving_check.check import check_serving
from components.serving_check.selection import choose, find_examples
from components.serving_check.server import ServingError, write_requests

PREDICTIONS = "predictions.parquet"
BLESSED = "INFRA_BLESSED"  # the file and the property by which TFX knows an infra blessing
TEST = SPLITS[-1]


class Executor(BaseExecutor):  # type: ignore[misc]
    """Fails when the model would be served otherwise than it was evaluated."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the model with its warm-up requests, and the blessing as TFX's InfraValidator does.

        Raises:
            ServingError: the model breaks the contract, does not load, or answers otherwise than evaluated.
        """
        inputs = {
            name: artifact_utils.get_single_instance(found) for name, found in input_dict.items()
        }
        push = json.loads(exec_properties["config"])["push"]
        predictions = pl.read_parquet(Path(inputs["evaluation"].uri, PREDICTIONS))
        chosen = choose(predictions, push["check_examples"])
        folder = Path(artifact_utils.get_split_uri([inputs["examples"]], TEST))
        examples = find_examples([str(file) for file in folder.iterdir()], chosen)
        source = Path(path_utils.serving_model_path(inputs["trained_model"].uri))
        warmup = check_serving(source, chosen, _all_found(examples), push["warmup_requests"])

        target = Path(
            path_utils.serving_model_path(artifact_utils.get_single_uri(output_dict["model"]))
        )
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        if warmup:
            for export in (target / folder for folder in exports(source).values()):
                write_requests(Path(path_utils.warmup_file_path(str(export))), warmup)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        write_text(Path(blessing.uri, BLESSED), "")
        blessing.set_int_custom_property("blessed", 1)


def _all_found(examples: list[bytes | None]) -> list[bytes]:
    found = [example for example in examples if example is not None]
    if not found or len(found) < len(examples):
        raise ServingError(
            f"Expected the examples that the Evaluator judged in the split {TEST}, "
            f"found {len(found)} of {len(examples)}; both have to come from the same examples."
        )
    return found
