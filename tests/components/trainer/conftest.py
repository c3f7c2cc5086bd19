"""One small model, fitted once, that the tests of the trainer look at from all sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from tests.components.trainer.tiny_log import SETTINGS, fit, write_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> FnArgs:
    """Transformed examples and the transform graph."""
    return write_inputs(tmp_path_factory.mktemp("inputs"), SETTINGS)


@pytest.fixture(scope="session")
def fitted(inputs: FnArgs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model` and `run`, as a fit leaves them."""
    return fit(inputs, tmp_path_factory.mktemp("fitted"), SETTINGS)


@pytest.fixture(scope="session")
def served(fitted: Path) -> Any:
    """The model as TensorFlow loads it."""
    return tf.saved_model.load(str(fitted / "model"))
