"""Trials in a process of their own: losses of a real fit, early ends, deaths, and no test split."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.config import Config, load_config
from components.contracts.provenance import DataProvenance
from components.node.settings import TrainerSettings
from pipeline.tuning.fits import Fits, Inputs
from tests.components.trainer.tiny_log import SETTINGS, fit, write_inputs

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"


class TinyInputs(Inputs):
    """Inputs of a tiny log; of a configuration only the learning rate counts."""

    tiny: Any

    def order(self, config: Config) -> dict[str, Any]:
        training = {**SETTINGS["training"], "learning_rate": config.training.learning_rate}
        settings = TrainerSettings.model_validate({**SETTINGS, "training": training})
        return {
            "settings": settings.to_property(),
            "train_files": self.tiny.train_files,
            "eval_files": self.tiny.eval_files,
            "transform_graph": self.tiny.transform_graph_path,
            "base_model": None,
        }


def with_rate(rate: float) -> Config:
    return load_config(CONFIG, [f"training.learning_rate={rate!r}"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def fits(folder: Path) -> Iterator[Fits]:
    inputs = TinyInputs("", "", None, DataProvenance())
    object.__setattr__(inputs, "tiny", write_inputs(folder, SETTINGS))
    with Fits(inputs, folder) as running:
        yield running


def go_on(_epoch: int, _loss: float) -> bool:
    return True


def test_an_earlier_fit_changes_none_and_losses_are_those_of_the_trainer(
    fits: Fits, folder: Path
) -> None:
    asked: list[tuple[int, float]] = []

    def stop(epoch: int, loss: float) -> bool:
        asked.append((epoch, loss))
        return False

    pruned = fits.fit(with_rate(0.1), stop)
    assert (pruned.state, len(pruned.losses)) == ("pruned", 1)
    assert asked == [(1, pruned.losses[0])]

    diverged = fits.fit(with_rate(1e30), go_on)
    assert diverged.state == "failed"
    assert "expected finite losses" in str(diverged.reason)

    found = fits.fit(with_rate(SETTINGS["training"]["learning_rate"]), go_on)
    assert found.state == "complete"
    inputs = fits._inputs.tiny  # type: ignore[attr-defined]
    made = fit(inputs, folder / "fitted", SETTINGS)
    history = json.loads((made / "run" / "history.json").read_text())
    assert found.losses == [epoch["val_loss"] for epoch in history["epochs"]]


def test_a_killed_fit_is_a_failed_trial_and_the_next_one_runs(fits: Fits) -> None:
    def kill(_epoch: int, _loss: float) -> bool:
        assert fits._process is not None
        os.kill(fits._process.pid, signal.SIGKILL)
        return True

    killed = fits.fit(with_rate(0.01), kill)
    assert killed.state == "failed"
    assert "was killed" in str(killed.reason)
    assert fits.fit(with_rate(0.01), lambda *_: False).state == "pruned"


def test_no_order_names_the_test_split() -> None:
    order = Inputs("/examples/7", "/graph/7", None, DataProvenance()).order(load_config(CONFIG))
    assert order["train_files"] == ["/examples/7/Split-train/*"]
    assert order["eval_files"] == ["/examples/7/Split-eval/*"]
    assert "Split-test" not in json.dumps(order)
