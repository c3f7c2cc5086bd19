"""What a search space may say, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import load_config
from components.errors import ConfigError
from pipeline.tuning.space import (
    DEFAULTS,
    TUNABLE,
    Choices,
    Range,
    contains,
    load_space,
    values_of,
)

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return tmp_path / "space.yaml"


def test_ranges_and_choices_are_read(space: Path) -> None:
    space.write_text(
        "training.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "training.batch_size: {low: 32, high: 128, step: 32}\n"
        "model.lstm: {choices: [[64, 32], [128]]}\n"
    )
    keys = load_space(space, CONFIG, []).keys
    assert keys["training.learning_rate"] == Range(low=0.0001, high=0.01, log=True)
    assert keys["training.batch_size"] == Range(low=32, high=128, step=32)
    assert keys["model.lstm"] == Choices(choices=[[64, 32], [128]])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("training.lerning_rate: {choices: [0.1]}", 1, "did you mean training.learning_rate?"),
        ("model.dropout: {choices: [0.1]}\nmodel.summaries: {choices: [true]}", 2, "Transform"),
        ("training.seed: {low: 1, high: 9}", 1, "the seed with the lowest loss is luck"),
        ("training.class_weights: {choices: [none]}", 1, "they weigh the eval loss too"),
        ("model.dropout: 0.3", 1, "expected {choices: [...]} or {low: ..., high: ...}, found 0.3"),
        ("model.dropout: {choices: []}", 1, "choices: expected a length of at least 1"),
        ("model.dropout: {low: 0.3, hihg: 0.4}", 1, "high: this key is required"),
        ("model.dropout: {low: 0.3, high: 0.3}", 1, "high: expected more than low (0.3)"),
        ("model.dropout: {low: 0.0, high: 0.3, log: true}", 1, "low: expected more than 0"),
        ("model.dropout: {low: 0.0, high: 1.5}", 1, "refuses 1.5: expected less than 1"),
        ("model.lstm: {choices: [[64], [0]]}", 1, "refuses [0]"),
        ("model.lstm: {low: 1, high: 3}", 1, "since this key holds no number"),
        ("training.batch_size: {low: 1.5, high: 3}", 1, "expected whole numbers"),
        ("model.kind: {choices: [lstm, gru]}", 1, "expected 'lstm' or 'transformer', found 'gru'"),
        ("# only a comment", None, "expected a search space"),
        ("a: [", 2, "expected YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_line_and_key(
    space: Path, text: str, line: int | None, said: str
) -> None:
    space.write_text(text + "\n")
    with pytest.raises(ConfigError) as error:
        load_space(space, CONFIG, [])
    assert said in str(error.value)
    assert str(error.value).startswith(f"{space}, line {line}" if line else str(space))


def test_every_wrong_key_is_told(space: Path) -> None:
    space.write_text("a: {choices: [1]}\nb: {choices: [1]}\n")
    with pytest.raises(ConfigError, match=r"(?s)line 1, a: .*line 2, b: "):
        load_space(space, CONFIG, [])


def test_a_section_and_a_key_in_it_exclude_each_other(space: Path) -> None:
    space.write_text(
        "model.transformer: {choices: [{width: 8, heads: 2, layers: 1}]}\n"
        "model.transformer.layers: {choices: [1, 2]}\n"
    )
    with pytest.raises(ConfigError, match=r"line 2, .*expected either model\.transformer or keys"):
        load_space(space, CONFIG, [])


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_the_default_space_fits_and_is_in_the_docs(kind: str) -> None:
    found = load_space(None, CONFIG, [f"model.kind={kind}"])
    assert set(found.keys) <= set(TUNABLE)
    page = CONFIG.parents[1] / "docs" / "tuning.md"
    assert (DEFAULTS / f"{kind}.yaml").read_text() in page.read_text()


def test_values_of_the_configuration_are_in_the_space_or_not(space: Path) -> None:
    space.write_text(
        "training.batch_size: {low: 32, high: 128, step: 32}\nmodel.dense: {choices: [[64]]}\n"
    )
    found = load_space(space, CONFIG, [])
    given = values_of(load_config(CONFIG), found)
    assert given == {"training.batch_size": 64, "model.dense": [64]}
    assert contains(found, given)
    for other in (16, 160, 65):
        assert not contains(found, {**given, "training.batch_size": other})
    assert not contains(found, {**given, "model.dense": []})
