"""From a model's outputs to rows of answers: classes, numbers, and what is neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.errors import MasteryError
from serving.answers.scoring.model import LabelRange, answer
from serving.answers.scoring.run import score
from serving.answers.scoring.versions import PushedVersion
from tests.serving.answers.scoring.conftest import at, options


@dataclass(frozen=True)
class Fixed:
    """A model that answers the same to whatever it is asked."""

    fixed: dict[str, Any]

    def outputs(self, examples: Sequence[bytes]) -> dict[str, Any]:
        """Returns the outputs of `serving_default`."""
        assert len(self.fixed["basis"]) == len(examples)
        return self.fixed


def test_a_number_is_a_need_on_the_scale_of_its_label() -> None:
    model = Fixed({"prediction": np.array([[20.0], [110.0]]), "basis": [b"sequence", b"prior"]})
    rows = answer(model, [b"", b""], LabelRange(0, 100))
    assert rows["prediction"].to_list() == [20.0, 110.0]
    assert rows["need"].to_list() == [0.8, 0.0]
    assert rows["basis"].to_list() == ["sequence", "prior"]
    assert "predicted_class" not in rows.columns


def test_an_answer_that_is_no_number_is_refused() -> None:
    outputs = {
        "probabilities": np.array([[0.5, 0.5], [np.nan, 1.0]]),
        "predicted_class": [b"low", b"high"],
        "basis": [b"sequence"] * 2,
    }
    with pytest.raises(MasteryError, match="answered 1 times with something that is no finite"):
        answer(Fixed(outputs), [b"", b""], None)


def test_a_regression_asks_for_the_range_of_its_label(
    version: PushedVersion, log: Path, tmp_path: Path
) -> None:
    label = version.config.label.model_copy(update={"task": "regression", "classes": []})
    numbers = replace(version, config=version.config.model_copy(update={"label": label}))
    with pytest.raises(MasteryError, match="expected --label-range LOWEST HIGHEST of mastery"):
        score(f"sqlite:///{tmp_path}/a.db", numbers, options(log, [at(days=8)]))
