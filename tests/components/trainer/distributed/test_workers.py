"""Fits by real processes, beside the same fits by one."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.model_card import WEIGHTS
from components.errors import TrainingError
from components.trainer.distributed.supervisor import Bounds, fit_on_workers
from tests.components.trainer.distributed.orders import EXACT, Hired, order_of, trained
from tests.components.trainer.tiny_log import REGRESSION, SETTINGS, fit, write_inputs

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def history(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run" / "history.json").read_text())
    return content


def require_same_curves(
    one: list[dict[str, Any]], other: list[dict[str, Any]], within: float
) -> None:
    assert len(one) == len(other)
    for expected, found in zip(one, other, strict=True):
        assert found == pytest.approx(expected, abs=within)


@pytest.fixture(scope="module")
def alone(inputs: FnArgs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit by one process, without dropout."""
    return fit(inputs, tmp_path_factory.mktemp("alone"), EXACT)


def test_the_curves_of_three_workers_are_those_of_one(
    inputs: FnArgs, alone: Path, tmp_path: Path
) -> None:
    together = fit(inputs, tmp_path, trained(EXACT, workers=3))

    one, several = history(alone), history(together)
    require_same_curves(one["epochs"], several["epochs"], within=1e-4)
    same = ("best_epoch", "stopped", "device", "warm_start", "parameters", "precision")
    assert {name: several[name] for name in same} == {name: one[name] for name in same}
    assert several["temperature"] == pytest.approx(one["temperature"], rel=1e-3)
    assert (several["workers"], several["lost_workers"]) == (3, [])

    scalars = [_curve(folder) for folder in (alone, together)]
    assert scalars[0].keys() == scalars[1].keys()
    assert "epoch_learning_rate" in scalars[0]
    rates = scalars[0]["epoch_learning_rate"]
    assert rates[-1] < rates[0]  # the callback had something to do
    for name, values in scalars[0].items():
        assert scalars[1][name] == pytest.approx(values, abs=1e-4)

    with np.load(alone / "model" / WEIGHTS) as before, np.load(together / "model" / WEIGHTS) as now:
        assert before.files == now.files
        assert all(now[name] == pytest.approx(before[name], abs=1e-3) for name in now.files)
    assert not [*(together / "run").glob(".*")]


def _curve(folder: Path) -> dict[str, list[float]]:
    """Returns the scalars of TensorBoard's train curves by name."""
    [logs] = (folder / "run" / "logs").iterdir()
    events = EventAccumulator(str(logs / "train"), size_guidance={"tensors": 0})
    events.Reload()
    names = [name for name in events.Tags()["tensors"] if name.startswith("epoch_")]
    return {
        name: [float(tf.make_ndarray(item.tensor_proto)) for item in events.Tensors(name)]
        for name in names
    }


TWELVE_EPOCHS = trained(SETTINGS, epochs=12, patience=12, decay=0.5)


def test_a_fit_that_loses_workers_gives_the_same_bits_as_an_undisturbed_one(
    inputs: FnArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = fit_on_workers(order_of(inputs, tmp_path / "calm", TWELVE_EPOCHS, 2), Hired())
    # Each worker has written what it ended with, and the supervisor has compared it.
    files = [tmp_path / "calm" / "attempt-1" / f"weights-{rank}.txt" for rank in (0, 1)]
    lines = [file.read_text().splitlines() for file in files]
    assert lines[0] == lines[1]
    assert [line.split()[0] for line in lines[0]] == [*map(str, range(1, 13)), "end"]

    monkeypatch.setenv("MASTERY_PROGRESS", str(tmp_path / "progress"))
    place = Hired()
    order = order_of(inputs, tmp_path / "disturbed", TWELVE_EPOCHS, 2)
    hit: list[int] = []

    def disturb() -> None:
        """Kills the chief of the first attempt, and freezes the other worker of the second."""
        for attempt, rank, sent in ((1, 0, signal.SIGKILL), (2, 1, signal.SIGSTOP)):
            checkpoint = tmp_path / "disturbed" / f"attempt-{attempt}" / "checkpoint.npz"
            while not checkpoint.exists():
                time.sleep(0.01)
            hit.append(place.workers[2 * (attempt - 1) + rank].pid)
            os.kill(hit[-1], sent)

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    disturbed = fit_on_workers(order, place, Bounds(silent=15))
    thread.join()

    assert disturbed.result == undisturbed.result
    assert len(disturbed.weights) == len(undisturbed.weights)
    assert all(map(np.array_equal, disturbed.weights, undisturbed.weights))

    killed, frozen = disturbed.lost
    first, second = disturbed.resumed_epochs
    assert 1 <= first < second < 12
    assert killed == (
        f"worker 1 (pid {hit[0]}) was lost in epoch {first + 1} (killed by SIGKILL); "
        f"resuming from epoch {first}"
    )
    assert frozen.startswith(f"worker 2 (pid {hit[1]}) was lost in epoch {second + 1}")
    assert "not heard from" in frozen

    reports = (tmp_path / "progress").read_text().splitlines()
    assert {killed, frozen} <= {*reports}
    after = reports[reports.index(frozen) + 1 :]
    assert [line.split()[1] for line in after] == [f"{e}/12" for e in range(second + 1, 13)]
    assert all(worker.poll() is not None for worker in place.workers)


def test_a_loss_that_is_not_finite_is_the_same_error_as_with_one(
    inputs: FnArgs, tmp_path: Path
) -> None:
    settings = trained(SETTINGS, learning_rate=1e30)
    errors = []
    for workers in (1, 2):
        with pytest.raises(TrainingError, match=r"epoch 1: expected finite losses") as caught:
            fit(inputs, tmp_path / str(workers), trained(settings, workers=workers))
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_transformer_that_starts_from_another_model_and_predicts_numbers(tmp_path: Path) -> None:
    settings = {
        **EXACT,
        "label": REGRESSION["label"],
        "model": {
            **EXACT["model"],
            "kind": "transformer",
            "transformer": {"width": 8, "heads": 2, "layers": 1},
        },
    }
    settings = trained(settings, epochs=2)
    inputs = write_inputs(tmp_path / "inputs", settings)
    base = fit(inputs, tmp_path / "base", trained(settings, epochs=1)) / "model"
    started = trained(settings, start_from=str(base))
    one, two = (
        history(fit(inputs, tmp_path / str(workers), trained(started, workers=workers)))
        for workers in (1, 2)
    )
    require_same_curves(one["epochs"], two["epochs"], within=1e-4)
    assert "mae" in two["epochs"][0]
    assert two["warm_start"] == one["warm_start"]
    assert two["warm_start"].startswith(f"weights of {base}")


def test_seeds_and_remedies(tmp_path: Path) -> None:
    settings = trained(
        {**EXACT, "seeds": 2, "remedies": {"reweigh": "unit_id", "min_examples": 5}},
        epochs=2,
        class_weights="none",
    )
    inputs = write_inputs(tmp_path / "inputs", {**settings, "reweigh": "unit_id"})
    one, two = (
        fit(inputs, tmp_path / str(workers), trained(settings, workers=workers))
        for workers in (1, 2)
    )
    require_same_curves(history(one)["epochs"], history(two)["epochs"], within=1e-4)
    assert history(two)["seeds"] == [7, 8]
    for folder in ("seeds/8", "without_remedies"):
        before, now = (dict(np.load(root / "run" / folder / WEIGHTS)) for root in (one, two))
        assert before.keys() == now.keys()
        assert all(now[name] == pytest.approx(before[name], abs=0.1) for name in now)


def test_mixed_precision(inputs: FnArgs, tmp_path: Path) -> None:
    settings = trained(EXACT, epochs=2, precision="mixed_bfloat16")
    one, two = (
        history(fit(inputs, tmp_path / str(workers), trained(settings, workers=workers)))
        for workers in (1, 2)
    )
    losses = [[epoch["val_loss"] for epoch in model["epochs"]] for model in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=2e-2)
    assert two["precision"] == "mixed_bfloat16"
