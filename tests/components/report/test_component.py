from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types.artifact import Artifact
from tfx.types.channel import Channel

from components.config import Config
from components.contracts.evaluation import Evaluation
from components.node import cache_key
from components.node.artifacts import RunReport
from components.report.component import ReportSpec, make_report
from components.report.executor import Executor
from components.report.facts import Sources
from tests.components.report.evaluations import classification

TYPES = {name: parameter.type for name, parameter in ReportSpec.INPUTS.items()}


def _config() -> Config:
    return Config.model_validate(
        {
            "name": "campus",
            "data": {"events": "e.parquet", "outcomes": "o.parquet"},
            "schema": "s.pbtxt",
            "label": {"column": "mastery", "classes": ["low", "high"]},
            "steps": {"features": {"dwell": {"type": "numeric"}}},
            "gates": [{"metric": "f1_macro", "min": 0.5}],
        }
    )


def test_the_node_carries_configuration_and_code_into_its_cache_key() -> None:
    node = make_report(_config(), **{name: Channel(type=kind) for name, kind in TYPES.items()})
    assert node.id == "Report"
    assert node.outputs["report"].type is RunReport
    assert json.loads(node.exec_properties["config"]) == _config().recipe
    assert len(node.exec_properties["code_fingerprint"]) == 16


def test_a_change_of_a_template_is_a_change_of_code(tmp_path: Path) -> None:
    shutil.copytree(cache_key.ROOT / "components", tmp_path / "components")
    executor = Executor.__module__
    before = cache_key.code_fingerprint(executor, root=tmp_path)
    with (tmp_path / "components/report/templates/report.css").open("a") as style:
        style.write("p { color: red }")
    assert cache_key.code_fingerprint(executor, root=tmp_path) != before


def _artifact(name: str, uri: Path) -> Artifact:
    artifact = TYPES[name]()
    artifact.uri = str(uri)
    return artifact


@pytest.mark.parametrize("pushed", [True, False])
def test_the_executor_writes_page_and_metrics(
    make_run: Callable[..., Sources],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    pushed: bool,
) -> None:
    content = classification()
    sources = make_run(content)
    inputs = {name: [_artifact(name, tmp_path / name)] for name in TYPES}
    inputs["examples"][0].set_int_custom_property("span", 20777)
    inputs["examples"][0].set_string_custom_property("spans", "2026-11-20")
    inputs["examples"][0].set_int_custom_property("version", 2)
    inputs["examples"][0].set_string_custom_property("input_fingerprint", "sum:1234")
    inputs["blessing"][0].set_string_custom_property("current_model", "nodes/Trainer/model/5")
    inputs["blessing"][0].set_string_custom_property("baseline_model", "nodes/Trainer/model/2")
    inputs["pushed_model"][0].set_int_custom_property("pushed", int(pushed))
    if pushed:
        inputs["pushed_model"][0].set_string_custom_property("pushed_version", "42")
        inputs["pushed_model"][0].set_string_custom_property(
            "pushed_destination", "serving/campus/42"
        )
    report = RunReport()
    report.uri = str(tmp_path / "report")
    monkeypatch.setenv("MASTERY_RUN_DIR", str(tmp_path))
    context = BaseExecutor.Context(pipeline_run_id="20261122-041205-3fa2b1")

    Executor(context).Do(
        inputs,
        {"report": [report]},
        {"config": json.dumps(sources.config.recipe), "code_fingerprint": "c0de"},
    )

    assert sorted(file.name for file in Path(report.uri).iterdir()) == [
        "metrics.json",
        "report.html",
    ]
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert ("Pushed as version 42" in page) is pushed
    for text in (
        "20261122-<wbr>041205-<wbr>3fa2b1",
        "sum:1234",
        "2026-11-20, version 2",
        "c0de",
        "nodes/<wbr>Trainer/<wbr>model/<wbr>5",
        "Blessed before",
    ):
        assert text in page
    metrics = json.loads((tmp_path / "report/metrics.json").read_text(encoding="utf-8"))
    assert metrics == json.loads(Evaluation.model_validate(content).to_json()) | {
        "run_id": "20261122-041205-3fa2b1",
        "pushed_version": "42" if pushed else None,
        "data": {"fingerprint": "sum:1234", "span": 20777, "spans": ["2026-11-20"], "version": 2},
    }
