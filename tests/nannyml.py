"""NannyML for tests: the reference of expected quality, in an environment that its lock pins."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.environments import make_environment

LOCK = Path(__file__).parent / "nannyml.lock"

# Standard input: a file with probabilities [n, C] and outcomes [n] of the reference period, and
# probabilities of the period to judge. Prints each measure of that period.
_PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
from nannyml import CBPE
from nannyml.calibration import NoopCalibrator

data = np.load(sys.argv[1])
classes = [str(number) for number in range(data["reference"].shape[1])]

def frame(shares):
    table = pd.DataFrame({f"p{name}": shares[:, int(name)] for name in classes})
    return table.assign(answered=[classes[one] for one in shares.argmax(axis=1)])

reference = frame(data["reference"]).assign(outcome=[classes[one] for one in data["outcomes"]])
estimator = CBPE(
    y_pred_proba={name: f"p{name}" for name in classes}, y_pred="answered", y_true="outcome",
    problem_type="classification_multiclass", chunk_number=1, calibrator=NoopCalibrator(),
    metrics=["accuracy", "f1", "recall", "roc_auc", "confusion_matrix"],
)
estimator.fit(reference)
found = estimator.estimate(frame(data["new"])).filter(period="analysis").to_df().iloc[0]
print(json.dumps({name: float(value) for (name, what), value in found.items() if what == "value"}))
"""


def estimate(
    cache: Path,
    folder: Path,
    *,
    reference: NDArray[np.float64],
    outcomes: NDArray[np.int64],
    new: NDArray[np.float64],
) -> dict[str, float]:
    """Returns what NannyML's CBPE expects of new answers, by its own names of measures.

    Skips, with the reason, where NannyML cannot be installed.

    Args:
        cache: a folder for the environment; another lock makes another environment.
        folder: a folder for a file.
        reference: probabilities, [n, C], and
        outcomes: what came true after them, [n].
        new: probabilities of answers without outcomes, [m, C].
    """
    python = make_environment(cache, LOCK, "NannyML") / "python"
    data = folder / "data.npz"
    np.savez(data, reference=reference, outcomes=outcomes, new=new)
    done = subprocess.run(
        [python, "-c", _PROGRAM, data],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "NML_DISABLE_USAGE_LOGGING": "1"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found
