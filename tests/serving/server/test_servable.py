"""A removed version frees its memory without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from serving.server.servable import LoadedModel, load_warm
from tests.serving.server.tiny import steps

VERSIONS = 24
MOST = 12 * 2**20  # bytes in all; the graph and the weights of one `big` version are 4 MiB


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a constant of 4 MiB in its graph, so that a leak shows."""
    import numpy as np
    import tensorflow as tf

    class Big(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {
                "y": x
                + tf.reduce_sum(tf.constant(np.random.default_rng(0).random(2**20, np.float32)))
            }

    folder = tmp_path_factory.mktemp("big") / "model"
    module = Big()
    tf.saved_model.save(module, str(folder), {"serving_default": module.serve})
    return folder


@pytest.fixture
def no_collector():
    """Turns the garbage collector off and freezes the objects that exist."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_graph_and_session_go_with_the_version(twice: Path) -> None:
    model = load_warm(twice)
    inputs = steps([3])
    assert model.run(model.signature("predict_steps"), inputs)["score"].shape == (1,)
    held = [weakref.ref(item) for item in (model, model._session, model._graph)]
    model.close()
    del model
    assert [item() for item in held] == [None] * 3


@pytest.mark.usefixtures("no_collector")
def test_a_version_that_cannot_be_loaded_leaves_nothing(
    twice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[object]] = []

    def fail(self: LoadedModel, _: object) -> None:
        held.extend(weakref.ref(item) for item in (self._session, self._graph))
        raise OSError("disk")

    monkeypatch.setattr(LoadedModel, "_read_signatures", fail)
    with pytest.raises(OSError, match="disk"):
        LoadedModel(twice)
    assert [item() for item in held] == [None] * 2


@pytest.mark.usefixtures("no_collector")
def test_memory_does_not_grow_with_the_versions_that_came_and_went(big: Path) -> None:
    for _ in range(4):  # what TensorFlow allocates once
        load_warm(big).close()
    before = resident()
    for _ in range(VERSIONS):
        load_warm(big).close()
    assert resident() - before < MOST


def resident() -> int:
    """Bytes of this process that are in memory."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("only Linux says how much memory a process has")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
