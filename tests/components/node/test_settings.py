"""A node's part of the configuration, and its progress."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.config import Config, load_config
from components.config.data import Label
from components.node.cache_key import ROOT
from components.node.progress import (
    PROGRESS_FILE,
    keep_progress,
    latest_progress,
    report_progress,
)
from components.node.settings import (
    NodeSettings,
    ServingCheckSettings,
    TrainerSettings,
    TransformSettings,
)


class LabelSettings(NodeSettings):
    label: Label


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(ROOT / "configs" / "sample.yaml")


@pytest.mark.parametrize(
    "kind", [LabelSettings, TrainerSettings, TransformSettings, ServingCheckSettings]
)
def test_settings_survive_the_way_to_the_executor(kind: type[NodeSettings], config: Config) -> None:
    settings = kind.of(config)
    assert kind.from_property(settings.to_property()) == settings


def test_settings_are_sections_under_their_own_names(config: Config) -> None:
    assert LabelSettings.of(config).label == config.label
    text = LabelSettings.of(config).to_property()
    assert text == json.dumps(json.loads(text), sort_keys=True)
    assert text == config.section_json("label")


def test_a_change_of_another_section_changes_no_property(config: Config) -> None:
    other = config.model_copy(update={"name": "other"})
    assert LabelSettings.of(other) == LabelSettings.of(config)
    assert TrainerSettings.of(other) != TrainerSettings.of(config)


def test_other_words_for_who_a_decision_is_about_fit_no_other_model(config: Config) -> None:
    [call] = config.decisions
    other = config.model_copy(update={"decisions": [call.model_copy(update={"who": "the others"})]})
    assert TrainerSettings.of(other).to_property() == TrainerSettings.of(config).to_property()


def test_progress_is_one_line_per_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_FILE, "of another test")
    keep_progress(tmp_path, "Trainer")
    assert latest_progress(tmp_path, "Trainer") == ""
    report_progress("epoch 1/2")
    report_progress("epoch 2/2\nval_loss 0.4")
    keep_progress(tmp_path, "Evaluator")
    report_progress("35 examples scored")
    file = tmp_path / "progress" / "Trainer.txt"
    assert file.read_text() == "epoch 1/2\nepoch 2/2 val_loss 0.4\n"
    assert latest_progress(tmp_path, "Trainer") == "epoch 2/2 val_loss 0.4"
    assert latest_progress(tmp_path, "Evaluator") == "35 examples scored"


def test_progress_is_dropped_without_a_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    report_progress("epoch 1/2")
