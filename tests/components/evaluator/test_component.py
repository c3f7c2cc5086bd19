"""The node Evaluator in real runs: first without a blessed model, then beside one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_metadata.proto.metadata_store_pb2 import Event, Execution
from tfx.components.evaluator import constants
from tfx.dsl.compiler import compiler
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.types import standard_artifacts

from components.baseline.component import make_baseline_resolver
from components.config import Config
from components.errors import MasteryError
from components.evaluator.component import make_evaluator
from components.evaluator.evaluator_settings import digest_baseline

Json = dict[str, Any]
CLASSES = ["low", "high"]
CONFIG = Config.model_validate(
    {
        "name": "small",
        "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
        "schema": "small.pbtxt",
        "label": {"column": "mastery", "classes": CLASSES},
        "steps": {"features": {"dwell": {"type": "numeric"}}},
        "gates": [{"metric": "accuracy", "min": 0.2, "min_change": 0.0}],
    }
)


class Runs:
    """Runs Evaluator on a model, again and again, in one pipeline root."""

    def __init__(self, root: Path, examples: Path) -> None:
        self.root, self.examples, self.count = root, examples, 0

    def __call__(self, model: Path, named: Path | None = None) -> tuple[bool, Json, Any]:
        """Compares with the latest blessed model, or the one that is `named`.

        Returns whether the node was taken from the cache, its `metrics.json` and its blessing."""
        self.count += 1
        store = metadata.sqlite_metadata_connection_config(str(self.root / "metadata.sqlite"))
        plan = compiler.Compiler().compile(self._pipeline(model, named, store))
        runtime_parameter_utils.substitute_runtime_parameter(
            plan, {"pipeline-run-id": f"run-{self.count}"}
        )
        deployment = runner_utils.extract_local_deployment_config(plan)
        for node in plan.nodes:
            name = node.pipeline_node.node_info.id
            info = launcher.Launcher(
                pipeline_node=node.pipeline_node,
                mlmd_connection=metadata.Metadata(store),
                pipeline_info=plan.pipeline_info,
                pipeline_runtime_spec=plan.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
            ).launch()
        with metadata.Metadata(store) as handle:
            [execution] = handle.store.get_executions_by_id([info.execution_id])
            events = handle.store.get_events_by_execution_ids([info.execution_id])
            outputs = {
                event.path.steps[0].key: event.artifact_id
                for event in events
                if event.type == Event.OUTPUT
            }
            artifacts = {
                item.id: item for item in handle.store.get_artifacts_by_id([*outputs.values()])
            }
        metrics = json.loads(Path(artifacts[outputs["evaluation"]].uri, "metrics.json").read_text())
        return (
            execution.last_known_state == Execution.CACHED,
            metrics,
            artifacts[outputs["blessing"]],
        )

    def _pipeline(self, model: Path, named: Path | None, store: Any) -> pipeline.Pipeline:
        splits = {"split_names": '["train", "eval", "test"]'}
        gen = Importer(str(self.examples), standard_artifacts.Examples, properties=splits).with_id(
            "ExampleGen"
        )
        trainer = Importer(str(model), standard_artifacts.Model).with_id("Trainer")
        baseline = make_baseline_resolver(trainer.outputs["result"])
        evaluation = CONFIG.evaluation.model_copy(
            update={"baseline": str(named) if named else None}
        )
        evaluator = make_evaluator(
            CONFIG.model_copy(update={"evaluation": evaluation}),
            examples=gen.outputs["result"],
            model=trainer.outputs["result"],
            baseline_model=baseline.outputs["model"],
        )
        return pipeline.Pipeline(
            pipeline_name="small",
            pipeline_root=str(self.root / "nodes"),
            components=[gen, trainer, baseline, evaluator],
            enable_cache=True,
            metadata_connection_config=store,
        )


def test_a_run_is_compared_with_the_blessed_one_before_it_and_a_failed_gate_is_no_error(
    tmp_path: Path,
    make_example: Callable[..., bytes],
    save_model: Callable[..., Path],
    write_split: Callable[..., Path],
) -> None:
    random = np.random.default_rng(4)
    rows = [
        make_example(
            learner_id="a",
            unit_id="u",
            as_of=1,
            mastery=CLASSES[index % 2],
            num_steps=1,
            answer=[low, 1 - low],
        )
        for index, low in enumerate((random.random(50) + (np.arange(50) % 2 == 0) * 0.5).clip(0, 1))
    ]
    write_split(tmp_path / "examples" / "Split-test", rows)
    good, bad = tmp_path / "good", tmp_path / "bad"
    save_model(good / "Format-Serving", CLASSES)
    save_model(bad / "Format-Serving", CLASSES[::-1])
    run = Runs(tmp_path, tmp_path / "examples")

    cached, metrics, blessing = run(good)
    assert (cached, metrics["blessed"], metrics["baseline"]) == (False, True, None)
    assert metrics["baseline_note"] == "there is no blessed model to compare with yet"
    assert Path(blessing.uri, constants.BLESSED_FILE_NAME).exists()
    assert (
        blessing.custom_properties[constants.ARTIFACT_PROPERTY_BLESSED_KEY].int_value
        == constants.BLESSED_VALUE
    )

    cached, again, _ = run(good)
    assert cached
    assert again == metrics

    cached, worse, blessing = run(bad)
    assert (cached, worse["blessed"]) == (False, False)
    assert worse["baseline"] == {key: metrics[key] for key in ("overall", "slices")}
    assert [gate["passed"] for gate in worse["gates"]] == [True, False]
    assert Path(blessing.uri, constants.NOT_BLESSED_FILE_NAME).exists()
    assert (
        blessing.custom_properties[constants.ARTIFACT_PROPERTY_BLESSED_KEY].int_value
        == constants.NOT_BLESSED_VALUE
    )
    properties = blessing.custom_properties
    assert properties[constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY].string_value == str(bad)
    assert properties[constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY].string_value == str(good)
    assert properties[constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY].int_value > 0

    cached, again, _ = run(bad)
    assert cached
    assert again == worse

    named = good / "Format-Serving"
    cached, beside, blessing = run(bad, named)
    assert not cached
    assert beside["baseline"] == worse["baseline"]
    assert [gate["passed"] for gate in beside["gates"]] == [True, False]
    properties = blessing.custom_properties
    assert properties[constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY].string_value == str(named)
    cached, _, _ = run(bad, named)
    assert cached
    (named / "note.txt").write_text("another model at the same path")
    cached, _, _ = run(bad, named)
    assert not cached


def test_a_configured_baseline_has_to_be_a_model(tmp_path: Path) -> None:
    assert digest_baseline(None) == ""
    with pytest.raises(MasteryError, match=r"evaluation\.baseline: expected a pushed version"):
        digest_baseline(str(tmp_path))
