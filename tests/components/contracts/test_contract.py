"""What holds for every file of a contract, and the files beside a model."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import pytest

from components.contracts.contract import ContractError
from components.contracts.model_card import ModelCard, Vocabularies
from components.contracts.training_history import TrainingHistory

EXAMPLES = (
    "components.contracts.contract", "components.contracts.model_card", "components.node.node_id",
)  # fmt: skip
WORDS = [b"quiz", b"quiz\n", "ünï\u2028".encode(), b"\xff\xfe", b"\0", b" "]


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_are_right(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted
    assert not results.failed


def test_a_history_comes_back_as_it_was_written(tmp_path: Path) -> None:
    epochs: list[dict[str, int | float | None]] = [{"epoch": 1, "loss": 0.5, "val_loss": None}]
    history = TrainingHistory(epochs=epochs, best_epoch=1, device="CPU")
    history.write(tmp_path / "run")

    assert TrainingHistory.read(tmp_path / "run") == history
    content = json.loads((tmp_path / "run" / "history.json").read_text())
    assert content["format"] == 1
    assert str(content["epochs"][0]["epoch"]) == "1"  # no 1.0


def test_a_file_without_a_format_and_with_unknown_keys_is_read() -> None:
    history = TrainingHistory.from_json('{"best_epoch": 3, "new": 1}')
    assert (history.format, history.best_epoch) == (1, 3)


def test_a_file_of_a_newer_format_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text('{"format": 2}')
    with pytest.raises(
        ContractError,
        match=r"history\.json: expected history\.json of Mastery; expected format 1 or earlier, "
        "found 2",
    ):
        TrainingHistory.read(tmp_path)


def test_a_newer_format_is_refused_for_its_number_whatever_its_fields_are() -> None:
    with pytest.raises(ContractError, match=r"expected format 1 or earlier, found 2"):
        TrainingHistory.from_json('{"format": 2, "epochs": "in another file"}')


@pytest.mark.parametrize("number", ['"9"', "9.0", "true", "null", "0"])
def test_a_format_that_is_no_whole_number_above_zero_is_refused(number: str) -> None:
    with pytest.raises(ContractError, match=r"expected history\.json of Mastery; .*expected"):
        TrainingHistory.from_json(f'{{"format": {number}}}')


def test_a_value_of_another_type_is_named_by_its_key() -> None:
    with pytest.raises(ContractError, match=r"of Mastery; best_epoch: expected .*'many'"):
        TrainingHistory.from_json('{"best_epoch": "many"}')


def test_a_missing_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"mastery\.json: could not be read \(No such file"):
        ModelCard.read(tmp_path)


def test_vocabularies_hold_any_bytes(tmp_path: Path) -> None:
    written = Vocabularies(words={"step_event_type": WORDS, "context_unit_id": []})
    path = written.write(tmp_path)

    assert Vocabularies.read(tmp_path) == written
    assert path == tmp_path / "assets.extra" / "vocabularies.json"
    assert {*json.loads(path.read_text())} == {"format", "step_event_type", "context_unit_id"}


def test_vocabularies_without_a_format_are_read() -> None:
    assert Vocabularies.from_json('{"step_x": ["a"]}').words == {"step_x": [b"a"]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2]", "expected lists of words by feature"),
        ("{", "expected lists of words by feature"),
        ('{"step_x": 7}', "expected lists of words by feature"),
        ('{"step_x": [7]}', "expected lists of words by feature"),
        ('{"format": 2, "step_x": ["a"]}', "expected format 1 or earlier, found 2"),
    ],
)
def test_vocabularies_that_cannot_be_read_are_an_error(text: str, problem: str) -> None:
    with pytest.raises(ContractError, match=rf"vocabularies\.json of Mastery; {problem}"):
        Vocabularies.from_json(text)
