"""ServingCheck asks the export for GPUs on a machine that has one.

No GPU is here: the process that would see it is a real one, and answers on the CPU.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from components.contracts.model_card import ModelCard
from components.serving_check import gpu_export
from components.serving_check.check import check_serving
from components.serving_check.replay import ServingError
from components.serving_check.standby import AnsweringProcess

Check = Callable[[str | None], list[str]]


@pytest.fixture
def check(
    tmp_path: Path,
    save_model: Callable[..., Path],
    predictions: pl.DataFrame,
    examples: list[bytes],
    process: AnsweringProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> Check:
    """Checks a model whose export for GPUs has a flaw; returns what was reported meanwhile."""

    def run(flaw: str | None) -> list[str]:
        model = Path(shutil.copytree(save_model(), tmp_path / "model"))
        card = model / ModelCard.FILE
        exports = {"portable": ".", "gpu": "gpu"}
        card.write_text(json.dumps({**json.loads(card.read_text()), "exports": exports}))
        shutil.copytree(save_model(flaw), model / "gpu")

        progress = tmp_path / "progress"
        monkeypatch.setenv("MASTERY_PROGRESS", str(progress))
        check_serving(model, predictions, examples, 2, process)
        return progress.read_text().splitlines()

    return run


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU that TensorFlow can use."""
    monkeypatch.setattr(gpu_export, "gpus", lambda: ["NVIDIA A10"])
    monkeypatch.setattr(gpu_export, "why_unseen", lambda _: [])


@pytest.mark.usefixtures("gpu")
def test_the_same_model_passes_and_how_close_it_is_is_reported(check: Check) -> None:
    assert check(None) == ["the export for GPUs answers as the portable one, within 0"]


@pytest.mark.usefixtures("gpu")
def test_another_model_is_not_pushed(check: Check) -> None:
    with pytest.raises(ServingError, match=r"gpu: on this machine's GPU .* not the same model"):
        check("counts padding")


@pytest.mark.usefixtures("gpu")
def test_an_export_that_fails_on_the_gpu_is_not_pushed(check: Check) -> None:
    with pytest.raises(ServingError, match=r"(?s)fresh process with a GPU .*CudnnRNNV3"):
        check("wants a GPU")


def test_without_a_gpu_it_is_not_asked(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_export, "gpus", list)
    [reported] = check("wants a GPU")
    assert reported == "the export for GPUs was not asked: this machine has no GPU"


def test_a_gpu_that_cannot_be_used_is_looked_for_as_the_answering_process_would(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def why_unseen(environment: dict[str, str]) -> list[str]:
        seen.update(environment)
        return ["the driver is too old"]

    monkeypatch.setattr(gpu_export, "gpus", lambda: ["NVIDIA A10"])
    monkeypatch.setattr(gpu_export, "why_unseen", why_unseen)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # as in every node but the Trainer
    monkeypatch.setenv("MASTERY_CUDA_VISIBLE_DEVICES", "1")
    [reported] = check("wants a GPU")
    assert reported == "the export for GPUs was not asked: the driver is too old"
    assert seen["CUDA_VISIBLE_DEVICES"] == "1"
