"""A platform of four weeks by the commands that people type: trained again, looked back on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import REPOSITORY, Mastery

pytestmark = pytest.mark.slow

Json = dict[str, Any]
WEEKS = ("2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26")


@pytest.fixture(scope="module")
def weeks(mastery: Mastery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weeks")
    options = ["--weeks", str(len(WEEKS)), "--learners", "250", "--change", "relation:3"]
    made = mastery("simulate", *options, "--out", folder / "log")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def options(weeks: Path) -> list[str]:
    days = f"{weeks}/log/{{YYYY}}-{{MM}}-{{DD}}"
    changed = {
        "data.events": f"{days}/events.parquet",
        "data.outcomes": f"{days}/outcomes.parquet",
        "data.min_class_examples": 1,
        "training.epochs": 1,
        "explain.enabled": "false",
        "gates": "[{metric: f1_macro, min: 0.01}]",
        "fairness.gates": "[]",
        "retrain": "{when: schedule, window: 'last:1', replay: 0.3, max_per_week: 2}",
    }
    settings = (part for key, value in changed.items() for part in ("--set", f"{key}={value}"))
    return ["--config", str(REPOSITORY / "configs" / "sample.yaml"), *settings]


def test_it_is_trained_when_there_are_new_data_and_twice_a_week_at_most(
    mastery: Mastery, options: list[str], weeks: Path
) -> None:
    later = [weeks / "log" / week for week in WEEKS[2:]]
    for folder in later:  # not delivered yet
        folder.rename(weeks / folder.name)
    command = ["retrain", *options, "--root", weeks / "runs", "--json"]

    def retrain(now: str, *more: str) -> Json:
        ran = mastery(*command, "--now", f"{now}T06:00Z", *more)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        content: Json = json.loads(ran.stdout)
        return content

    first = retrain("2026-01-19")
    assert (first["train"], first["state"], first["starts_from"]) == (True, "passed", None)
    assert first["cause"]["why"] == "no version is in service yet"

    idle = retrain("2026-01-20")
    assert (idle["train"], idle["run"]) == (False, None)
    assert idle["cause"]["why"] == f"no new data since run {first['run']}"

    (weeks / WEEKS[2]).rename(later[0])
    planned = retrain("2026-01-21", "--dry-run")
    assert (planned["train"], planned["run"], planned["this_week"]) == (True, None, [first["run"]])
    second = retrain("2026-01-21")
    assert second["starts_from"] == first["pushed_version"]
    assert second["cause"]["why"] == f"new data since run {first['run']}: {WEEKS[2]}"

    manifest = json.loads((Path(second["pushed_version"]) / "manifest.json").read_text())
    assert manifest["data"]["spans"] == [WEEKS[2]]
    assert (manifest["data"]["replayed"], manifest["data"]["replay"]) == ([*WEEKS[:2]], 0.3)
    record = json.loads(
        (weeks / "runs" / "sample" / "runs" / second["run"] / "run.json").read_text()
    )
    assert record["retraining"]["why"] == second["cause"]["why"]

    (weeks / WEEKS[3]).rename(later[1])
    third = retrain("2026-01-22")
    assert third["train"] is False
    assert third["this_week"] == [first["run"], second["run"]]
    assert third["cause"]["why"].endswith("the next may begin on 2026-01-26 06:00 UTC")
    assert retrain("2026-01-26", "--dry-run")["train"] is True

    # By drift, it is the version in service whose data are compared with the newest week.
    drifted = retrain("2026-01-26", "--dry-run", "--set", "retrain.when=drift")
    assert drifted["cause"]["when"] == "drift"
    assert drifted["cause"]["version"] == int(Path(second["pushed_version"]).name)


def test_a_backtest_says_what_would_have_been_pushed_and_how_good_it_was(
    mastery: Mastery, options: list[str], weeks: Path
) -> None:
    command = ["backtest", *options, "--root", weeks / "runs", "--spans", "2"]
    ran = mastery(*command, "--json", "--out", weeks / "table.json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (weeks / "table.json").read_text() == ran.stdout
    table = json.loads(ran.stdout)

    spans = table["spans"]
    assert [(item["span"], item["after"]) for item in spans] == [
        (WEEKS[1], WEEKS[2]),
        (WEEKS[2], WEEKS[3]),
    ]
    assert [item["in_service"] for item in spans] == [WEEKS[1], WEEKS[2]]
    for item in spans:
        assert item["gates_passed"]
        assert item["outcomes"] > 100
        low, high = item["metrics"]["f1_macro"]["interval"]
        assert low <= item["metrics"]["f1_macro"]["value"] <= high

    folder = next((weeks / "runs" / "sample" / "backtest").iterdir())
    assert "| 2026-01-12 | passed |" in (folder / "backtest.md").read_text()
    # The second fit started from the version that the first one pushed, below the same folder.
    [record] = folder.glob(f"{WEEKS[2]}/sample/runs/*/plan.json")
    started_from = json.loads(record.read_text())["config"]["training"]["start_from"]
    assert Path(started_from).parent == folder / WEEKS[1] / "sample" / "serving"
