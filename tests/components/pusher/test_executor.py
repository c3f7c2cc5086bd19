"""The node on real artifacts: what is pushed, what is not, and what is written about it."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.config import Config
from components.contracts.evaluation import Evaluation
from components.contracts.manifest import Manifest
from components.contracts.model_card import ModelCard
from components.contracts.serving_state import who_pushes
from components.contracts.slsa import Statement
from components.model_version.signature import SignatureError, Trust, verify_signature
from components.model_version.signing_keys import KeyFileError, make_keys
from components.model_version.verify import difference, model_digest
from components.pusher.component import make_pusher
from components.pusher.executor import Executor
from components.pusher.push import PushError

CONFIG = Config.model_validate(
    {
        "name": "small",
        "data": {"events": "e.parquet", "outcomes": "o.parquet"},
        "schema": "small.pbtxt",
        "label": {"column": "mastery", "classes": ["low", "high"]},
        "steps": {"features": {"correct": {"type": "numeric"}}},
        "gates": [{"metric": "recall", "class": "low", "min": 0.5}],
    }
)
EVALUATION = Evaluation.model_validate(
    {
        "task": "classification",
        "classes": ["low", "high"],
        "gates": [
            {"text": "recall of low at least 0.5", "passed": True, "value": 0.6}
            | {"metric": "recall", "class": "low", "bound": "min", "threshold": 0.5},
            {"text": "accuracy at least 0.9", "passed": False, "value": 0.8}
            | {"metric": "accuracy", "bound": "min", "threshold": 0.9},
        ],
        "overall": {"examples": 50, "metrics": {"accuracy": 0.8}},
    }
)
CARD = ModelCard(name="small", task="classification", config={}, code="abc123")
PAPERS = {
    "data-statement.html", "instructions-for-use.html", "metrics.json", "model-card.html",
    "model-card.json", "release.json", "sbom.cdx.json", "technical-file.html",
}  # fmt: skip
INPUTS = {
    "examples": standard_artifacts.Examples,
    "model": standard_artifacts.Model,
    "model_blessing": standard_artifacts.ModelBlessing,
    "infra_blessing": standard_artifacts.InfraBlessing,
    "evaluation": standard_artifacts.ModelEvaluation,
    "statistics": standard_artifacts.ExampleStatistics,
    "model_run": standard_artifacts.ModelRun,
}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, list[Any]]:
    """A model with both blessings, and the examples and the evaluation behind it."""
    artifacts = {name: kind() for name, kind in INPUTS.items()}
    for name, artifact in artifacts.items():
        artifact.uri = str(tmp_path / name)
    held = artifacts["examples"].mlmd_artifact.custom_properties
    held["input_fingerprint"].string_value, held["span"].int_value = "split:events,sum:1", 3
    artifacts["model_blessing"].set_int_custom_property("blessed", 1)
    artifacts["model_blessing"].set_string_custom_property(
        "baseline_model", "/root/Trainer/model/7"
    )
    artifacts["infra_blessing"].set_int_custom_property("blessed", 1)
    serving = tmp_path / "model" / "Format-Serving"
    CARD.write(serving)
    (serving / "saved_model.pb").write_bytes(b"graph")
    EVALUATION.write(tmp_path / "evaluation")
    return {name: [artifact] for name, artifact in artifacts.items()}


def _push(
    inputs: dict[str, list[Any]], directory: Path | str, folder: Path, config: Config = CONFIG
) -> tuple[Any, dict[str, Any]]:
    """Runs the executor; returns the artifact and what was written into it."""
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    context = BaseExecutor.Context(pipeline_run_id="run-2024")
    properties = {"config": json.dumps(config.recipe), "directory": str(directory)}
    Executor(context).Do(inputs, {"pushed_model": [pushed]}, properties)
    return pushed, json.loads(Path(pushed.uri, "push.json").read_text())


def test_a_blessed_model_is_pushed_with_what_made_it(
    inputs: dict[str, list[Any]], tmp_path: Path
) -> None:
    pushed, written = _push(inputs, tmp_path / "serving", tmp_path)

    (version,) = (item for item in (tmp_path / "serving").iterdir() if item.name.isdecimal())
    manifest = json.loads((version / "manifest.json").read_text())
    pushed_at = datetime.fromisoformat(manifest.pop("pushed_at"))
    assert timedelta() <= datetime.now(UTC) - pushed_at < timedelta(minutes=1)
    papers = [*(version / "release").iterdir()]
    assert manifest.pop("release") == {
        f"release/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in papers
    }
    assert {path.name for path in papers} == PAPERS
    assert manifest.pop("pushed_by") == who_pushes(os.environ)
    assert manifest == {
        "format": 1,
        "version": int(version.name),
        "name": "small",
        "run": "run-2024",
        "data": {"fingerprint": "split:events,sum:1", "span": 3, "spans": [], "version": None},
        "code": "abc123",
        "config": CONFIG.recipe,
        "config_fingerprint": CONFIG.fingerprint,
        "metrics": {"accuracy": 0.8},
        "decisions": [],
        "gates": [gate.model_dump(by_alias=True) for gate in EVALUATION.gates],
        "model_sha256": model_digest(version),
        "files": {
            name: hashlib.sha256((version / name).read_bytes()).hexdigest()
            for name in ("assets.extra/mastery.json", "saved_model.pb")
        },
        "exports": {"portable": "."},
        "baseline": "/root/Trainer/model/7",
        "audit_head": None,
    }
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert written == {
        "format": 1,
        "pushed": True,
        "version": int(version.name),
        "destination": str(version),
        "reason": None,
    }


def test_a_version_is_signed_with_its_papers_and_provenance(
    inputs: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_keys(tmp_path / "keys", "sesame")
    config = CONFIG.model_copy(
        update={"push": CONFIG.push.model_copy(update={"signing_key": str(private)})}
    )
    assert str(private) not in json.dumps(config.recipe)  # nor in cache keys, nor in manifests
    assert config.fingerprint == CONFIG.fingerprint
    for name, value in config.push.as_environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyFileError, match="found no password"):
        _push(inputs, tmp_path / "serving", tmp_path, config)
    assert not (tmp_path / "serving").exists()

    monkeypatch.setenv("MASTERY_SIGNING_PASSWORD", "sesame")
    _push(inputs, tmp_path / "serving", tmp_path, config)

    (version,) = (item for item in (tmp_path / "serving").iterdir() if item.name.isdecimal())
    files = [path for path in version.rglob("*") if path.is_file()]
    trust = Trust(public_key=public)
    assert verify_signature(version, trust, number=int(version.name)).files == len(files) - 1
    subject = {item.name: item.digest for item in Statement.read(version).subject}
    manifest = Manifest.read(version)
    assert subject == {name: {"sha256": sum_} for name, sum_ in (manifest.files or {}).items()}
    text = b"".join(path.read_bytes() for path in files)
    assert b"sesame" not in text
    assert str(private).encode() not in text
    assert difference(version, manifest) is None

    (version / "release" / "model-card.html").write_text("better")
    with pytest.raises(SignatureError, match=r"changed: release/model-card\.html"):
        verify_signature(version, trust)


def test_an_export_for_gpus_is_pushed_inside_and_linked_where_gpu_servers_look(
    inputs: dict[str, list[Any]], tmp_path: Path
) -> None:
    model = tmp_path / "model" / "Format-Serving"
    card = CARD.model_copy(update={"exports": {"portable": ".", "gpu": "gpu"}})
    card.write(model)
    (model / "gpu").mkdir()
    (model / "gpu" / "saved_model.pb").write_bytes(b"graph with cuDNN")
    (tmp_path / "serving" / "gpu").mkdir(parents=True)
    (tmp_path / "serving" / "gpu" / "7").symlink_to(
        "../7/gpu"
    )  # of a version that has been removed

    _push(inputs, tmp_path / "serving", tmp_path)

    (version,) = (item for item in (tmp_path / "serving").iterdir() if item.name.isdecimal())
    assert json.loads((version / "manifest.json").read_text())["exports"] == card.exports
    (linked,) = (tmp_path / "serving" / "gpu").iterdir()
    assert linked.name == version.name
    assert (linked / "saved_model.pb").read_bytes() == b"graph with cuDNN"


def test_gpu_servers_find_the_portable_export_of_a_version_that_has_no_other(
    inputs: dict[str, list[Any]], tmp_path: Path
) -> None:
    _push(inputs, tmp_path / "serving", tmp_path)
    assert not (tmp_path / "serving" / "gpu").exists()
    (tmp_path / "serving" / "gpu").mkdir()
    _push(inputs, tmp_path / "serving", tmp_path)
    pushed = sorted(item for item in (tmp_path / "serving").iterdir() if item.name.isdecimal())
    assert [(tmp_path / "serving" / "gpu" / item.name).resolve() for item in pushed] == pushed


@pytest.mark.parametrize(
    ("blessing", "reason"),
    [
        (
            "model_blessing",
            "the Evaluator did not bless the model; gates that failed: accuracy at least 0.9",
        ),
        ("infra_blessing", "ServingCheck did not bless the model"),
    ],
)
def test_nothing_is_pushed_without_both_blessings(
    inputs: dict[str, list[Any]], tmp_path: Path, blessing: str, reason: str
) -> None:
    inputs[blessing][0].set_int_custom_property("blessed", 0)

    pushed, written = _push(inputs, tmp_path / "serving", tmp_path)

    assert not (tmp_path / "serving").exists()
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_version")
    nothing = {"pushed": False, "version": None, "destination": None, "reason": reason}
    assert written == {"format": 1, **nothing}


def test_a_folder_elsewhere_is_refused(inputs: dict[str, list[Any]], tmp_path: Path) -> None:
    with pytest.raises(
        PushError, match="expected a folder on this machine, found gs://bucket/serving"
    ):
        _push(inputs, "gs://bucket/serving", tmp_path)


def test_the_digest_sees_names_and_contents(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"3")):
        (tmp_path / name).write_bytes(content)
    digest = model_digest(tmp_path)

    (tmp_path / "manifest.json").write_text("{}")
    assert model_digest(tmp_path) == digest
    (tmp_path / "a").write_bytes(b"1")
    assert model_digest(tmp_path) != digest
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "c").write_bytes(b"12")
    assert model_digest(tmp_path) != digest


def test_the_node_has_configuration_code_and_folder_in_its_cache_key() -> None:
    channels = {name: Channel(type=kind) for name, kind in INPUTS.items()}

    node = make_pusher(CONFIG, directory="/serving", **channels)

    assert node.id == "Pusher"
    assert Config.model_validate_json(node.exec_properties["config"]) == CONFIG
    assert node.exec_properties["directory"] == "/serving"
    assert node.exec_properties["code_fingerprint"]


def test_a_disabled_push_has_a_reason(inputs: dict[str, list[Any]], tmp_path: Path) -> None:
    off = CONFIG.model_copy(update={"push": CONFIG.push.model_copy(update={"enabled": False})})
    pushed, written = _push(inputs, tmp_path / "serving", tmp_path, off)
    assert (written["pushed"], written["reason"]) == (False, "push.enabled is false")
    assert pushed.get_string_custom_property("reason") == "push.enabled is false"
    assert not (tmp_path / "serving").exists()
