"""Airflow for tests, in an environment of its own, which its lock pins."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.environments import make_environment

LOCK = Path(__file__).parent / "airflow.lock"
DAGS = Path(__file__).parents[1] / "configs" / "airflow"


@dataclass(frozen=True)
class Airflow:
    """An installation with a database of its own, and the DAGs of `configs/airflow`.

    Attributes:
        programs: the folder with `airflow`.
        home: its database and logs.
        root: where Mastery's runs are kept.
    """

    programs: Path
    home: Path
    root: Path

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `airflow ...` with further variables of the environment."""
        environment = {
            "PATH": os.pathsep.join((str(self.programs), os.environ["PATH"])),
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "MASTERY_HOME": str(DAGS.parents[1]),
            "MASTERY_ROOT": str(self.root),
            **variables,
        }
        return subprocess.run(
            [self.programs / "airflow", *arguments],
            env=environment, cwd=self.home, capture_output=True, text=True, check=False,
        )  # fmt: skip


def install(cache: Path) -> Path:
    """Returns the folder with `airflow`; skips, with the reason, where it cannot be installed."""
    return make_environment(cache, LOCK, "Airflow")


def set_up(programs: Path, folder: Path) -> Airflow:
    """Returns Airflow with an empty database."""
    home = folder / "airflow"
    home.mkdir()
    airflow = Airflow(programs, home, folder / "runs")
    made = airflow("db", "migrate")
    assert made.returncode == 0, made.stderr
    return airflow
