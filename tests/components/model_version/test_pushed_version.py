"""The manifest of a pushed version, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import Config, load_config
from components.contracts.decision_results import DecisionMetrics, DecisionResults
from components.contracts.evaluation import Evaluation, Result
from components.contracts.manifest import Manifest
from components.contracts.model_card import ModelCard
from components.contracts.provenance import DataProvenance
from components.errors import MasteryError, VersionError
from components.model_version.pushed_version import (
    config_for_log,
    config_of,
    describe_push,
    model_name,
)
from components.model_version.verify import file_digests

REPOSITORY = Path(__file__).parents[3]
EXPECTED = "version 7: expected a pushed version such as runs/NAME/serving/1234567890"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(REPOSITORY / "configs" / "sample.yaml")


def refusal(model: Path) -> str:
    with pytest.raises(MasteryError) as caught:
        config_of(model, name="version 7")
    return str(caught.value)


def test_the_configuration_is_that_of_the_manifest(tmp_path: Path, config: Config) -> None:
    Manifest(config=config.recipe).write(tmp_path)
    assert config_of(tmp_path, name="version 7").fingerprint == config.fingerprint


def test_the_manifest_says_which_decisions_the_model_takes(tmp_path: Path, config: Config) -> None:
    card = ModelCard(name="small", task="classification", classes=["low", "high"], config={})
    card.write(tmp_path)
    measured = DecisionMetrics.of(100, 30, 40, 27, None)
    call = {
        "name": "call",
        "class": "low",
        "who": "the low",
        "threshold": 0.25,
        "purpose": "recall",
    }
    evaluation = Evaluation(
        task="classification",
        overall=Result(examples=100, metrics={}, decisions={"call": measured}),
        decisions=[
            DecisionResults.model_validate(
                {**call, "purpose": "recall", "aim": 0.9, "note": "no such point"}
            )
        ],
    )
    data = DataProvenance()
    manifest = describe_push(
        tmp_path, run="run-1", config=config, data=data, evaluation=evaluation, baseline=None
    )
    manifest.write(tmp_path)
    [decision] = Manifest.read(tmp_path).decisions
    assert (decision.name, decision.class_, decision.threshold) == ("call", "low", 0.25)
    assert (decision.purpose, decision.aim, decision.note) == ("recall", 0.9, "no such point")
    assert decision.measured == measured


def test_a_folder_that_is_not_a_version_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{EXPECTED}. {tmp_path}/manifest.json: could not be read (No such file or directory)."
    )
    Manifest(name="small").write(tmp_path)
    assert refusal(tmp_path) == f"{EXPECTED}, found no configuration in its manifest.json."


def test_a_configuration_that_cannot_be_used_is_named(tmp_path: Path, config: Config) -> None:
    Manifest(config={**config.recipe, "model": {"lstm": "many"}}).write(tmp_path)
    text = refusal(tmp_path)
    assert text.startswith("version 7: the configuration in its manifest.json cannot be used: ")
    assert "model.lstm" in text


def test_another_log_is_read_with_the_version_s_configuration(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "7"
    model.mkdir()
    (model / "saved_model.pb").touch()
    Manifest(config=config.recipe, files=file_digests(model)).write(model)
    monkeypatch.chdir(tmp_path)

    found = config_for_log(model, ["events.csv"], ["/log/outcomes.csv"], name="version 7")
    assert found.steps == config.steps
    assert found.data.events == [str(tmp_path / "events.csv")]
    assert found.data.outcomes == ["/log/outcomes.csv"]

    (model / "more").touch()
    with pytest.raises(VersionError, match="never pushed: more"):
        config_for_log(model, ["events.csv"], ["outcomes.csv"], name="version 7")


def test_the_newest_manifest_with_a_name_names_the_model(tmp_path: Path) -> None:
    assert model_name(tmp_path) == tmp_path.name
    texts = ['{"name": "old"}', '{"name": "new"}', "{}", "broken", '{"format": 2, "name": "x"}']
    for number, text in enumerate(texts):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "saved_model.pb").touch()
        (folder / "manifest.json").write_text(text)
    assert model_name(tmp_path) == "new"
