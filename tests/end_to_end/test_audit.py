"""Every configuration's examples are audited: they show nothing of what is predicted.

A new file in `configs/` is audited without a change here, on the log that it names.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.conftest import REPOSITORY, Mastery

pytestmark = pytest.mark.slow

CONFIGS = [
    path
    for path in sorted((REPOSITORY / "configs").glob("*.yaml"))
    if path.name != "answers.yaml"  # of no pipeline
]
ROUNDS = 4  # outcomes of a sequence; `mastery audit` takes more
# Learners of the larger logs, for time: as many as give test splits that tell .7 from chance.
LEARNERS = 6000
FINDINGS = [
    "no learner in two splits",
    "labels show in the label alone",
    "nothing from as_of on is seen",
    "an event before as_of is seen",
    "shuffled labels cannot be found",
    "true labels can be found",
]


def test_there_are_configurations_to_audit() -> None:
    assert {"sample.yaml", "assist2009.yaml", "epfl.yaml"} <= {file.name for file in CONFIGS}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: file.stem)
def test_examples_show_nothing_of_what_is_predicted(
    config: Path, mastery: Mastery, tmp_path: Path
) -> None:
    options = ["--config", config, "--rounds", str(ROUNDS)]
    options += ["--set", f"data.sample_learners={LEARNERS}"]
    if config.stem == "sample":
        made = mastery("simulate", "--learners", "1500", "--seed", "5", "--out", tmp_path)
        assert made.returncode == 0, made.stderr
        for table in ("events", "outcomes"):
            options += ["--set", f"data.{table}={tmp_path / table}.parquet"]
    else:
        data = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
        events = data["events"]
        first = events[0] if isinstance(events, list) else events
        log = (config.parent / first).parent.resolve()
        if not log.is_dir():
            pytest.skip(f"the real log is not here: expected {log}")

    ran = mastery("audit", *options, "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    findings = json.loads(ran.stdout)
    by = yaml.safe_load(config.read_text(encoding="utf-8"))["data"].get("splits", {}).get("by")
    expected = [FINDINGS[0].replace("learner", by or "learner"), *FINDINGS[1:]]
    assert [finding["name"] for finding in findings] == expected
    assert all(finding["passed"] for finding in findings), findings
