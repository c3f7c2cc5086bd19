"""NannyML for tests: the reference of expected quality, in an environment that its lock pins."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uv
from numpy.typing import NDArray

from tests.debian import one_process

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
    python = _environment(cache) / "bin" / "python"
    data = folder / "data.npz"
    np.savez(data, reference=reference, outcomes=outcomes, new=new)
    done = subprocess.run(
        [python, "-c", _PROGRAM, data],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "NML_DISABLE_USAGE_LOGGING": "1"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _environment(cache: Path) -> Path:
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    environment = cache / f"{digest}-{sys.version_info[0]}.{sys.version_info[1]}"
    ready = environment / "ready"
    with one_process(cache):
        if not ready.is_file():
            shutil.rmtree(environment, ignore_errors=True)
            plain = Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}")
            for command in (
                ["venv", environment, "--python", os.path.realpath(plain)],
                ["pip", "install", "--python", environment / "bin" / "python", "--require-hashes",
                 "--no-deps", "--requirement", LOCK],
            ):  # fmt: skip
                done = subprocess.run(
                    [uv.find_uv_bin(), "--quiet", *command],
                    check=False, capture_output=True, text=True,
                )  # fmt: skip
                if done.returncode:
                    pytest.skip(f"the comparison needs NannyML, and uv says: {done.stderr}")
            ready.touch()
    return environment
