"""Sequences over all units of a learner, from the log to the answers of a server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.end_to_end.conftest import COMMAND, REPOSITORY, Mastery, environment
from tests.ports import free_port, wait_for_port

pytestmark = pytest.mark.slow

KEYS = ["learner_id", "unit_id", "as_of"]
STEPS = {
    "event_type": "{type: categorical, vocabulary: 10, embedding: 4}",
    "correct": "{type: numeric}",
    "time_since_previous": "{type: numeric, log: true}",
    "step_unit": "{type: categorical, vocabulary: 20, embedding: 4}",
    "same_unit": "{type: numeric, scale: none}",
}


@pytest.fixture(scope="module")
def log(mastery: Mastery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    made = mastery("simulate", "--learners", "600", "--seed", "3", "--out", folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def settings(log: Path) -> list[str]:
    """The options of a short run whose model reads the learner's events in any unit."""
    features = ", ".join(f"{name}: {feature}" for name, feature in STEPS.items())
    options = {
        "data.events": log / "events.parquet",
        "data.outcomes": log / "outcomes.parquet",
        "schema": log / "learner.pbtxt",
        "steps": f"{{history: learner, max_steps: 40, features: {{{features}}}}}",
        "context.unit_id": "{type: categorical, embedding: 2}",
        "prior.group_by": "[unit_id]",
        "model.lstm": "[16]",
        "training.epochs": 2,
        "gates": "[{metric: f1_macro, min: 0.2}]",
        "fairness.gates": "[]",
        "reasons.words": "{}",
        "explain.truth": "none",
    }
    values = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    return ["--config", str(REPOSITORY / "configs" / "sample.yaml"), *values]


@pytest.fixture(scope="module")
def record(mastery: Mastery, settings: list[str], log: Path) -> dict[str, Any]:
    """The record of a run to its verdict, with a schema that was inferred from the log."""
    inferred = mastery("schema", "infer", *settings)
    assert inferred.returncode == 0, inferred.stderr
    ran = mastery("run", *settings, "--root", log / "root")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    listed = mastery("runs", "--root", log / "root", "--json")
    [record] = json.loads(listed.stdout)
    assert record["state"] == "passed"
    return dict(record)


@pytest.fixture(scope="module")
def servers(record: dict[str, Any], log: Path) -> Iterator[list[str]]:
    """Both addresses of a server of the pushed version."""
    ports = {"rest": free_port(), "grpc": free_port()}
    options = [part for kind, port in ports.items() for part in (f"--{kind}-port", str(port))]
    models = Path(record["pushed_version"]).parent
    command = [*COMMAND, "serve", "--models", str(models), "--engine", "embedded", *options]
    output = log / "server.txt"
    with (
        output.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment()) as server,
    ):
        try:
            for port in ports.values():
                wait_for_port(port, server, output)
            yield [f"http://127.0.0.1:{ports['rest']}", f"grpc://127.0.0.1:{ports['grpc']}"]
        finally:
            server.terminate()


def predict(
    mastery: Mastery, record: dict[str, Any], server: str, log: Path, outcomes: Path
) -> pl.DataFrame:
    """Returns what `mastery predict` answers about a table of outcomes."""
    out = log / "answers.jsonl"
    asked = mastery(
        "predict", "--server", server, "--model", record["pushed_version"],
        "--events", log / "events.parquet", "--outcomes", outcomes, "--out", out,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    answers = pl.read_ndjson(out)
    return answers.with_columns(pl.col("as_of").str.to_datetime(time_zone="UTC"))


@pytest.mark.parametrize("way", [0, 1], ids=["rest", "grpc"])
def test_a_server_answers_what_the_evaluator_has_judged(
    mastery: Mastery, record: dict[str, Any], servers: list[str], log: Path, way: int
) -> None:
    judged = pl.read_parquet(
        Path(record["metrics"]).parent / "predictions.parquet", memory_map=False
    )
    judged = judged.with_columns(pl.col("as_of").cast(pl.Datetime("us", "UTC")))
    answers = predict(mastery, record, servers[way], log, log / "outcomes.parquet")
    both = answers.join(judged, on=KEYS, suffix="_judged")
    assert both.height == judged.height > 50
    assert both["basis"].to_list() == both["basis_judged"].to_list()
    classes = ["not_mastered", "partial", "proficient"]
    for place, name in enumerate(classes):
        expected = both["probabilities"].list.get(place).to_list()
        assert both[f"probability_{name}"].to_list() == pytest.approx(expected, abs=1e-5)


def test_evaluating_the_same_log_again_judges_every_outcome(
    mastery: Mastery, record: dict[str, Any], log: Path
) -> None:
    scored = mastery(
        "evaluate", "--model", record["pushed_version"], "--json",
        "--events", log / "events.parquet", "--outcomes", log / "outcomes.parquet",
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    outcomes = pl.read_parquet(log / "outcomes.parquet")
    assert json.loads(scored.stdout)["overall"]["examples"] == outcomes.height


@pytest.mark.parametrize("way", [0, 1], ids=["rest", "grpc"])
def test_a_unit_that_training_has_never_seen_is_answered_from_the_learners_other_units(
    mastery: Mastery, record: dict[str, Any], servers: list[str], log: Path, way: int
) -> None:
    outcomes = pl.read_parquet(log / "outcomes.parquet").head(40)
    new = outcomes.with_columns(unit_id=pl.lit("a course of next year"))
    new.write_parquet(log / "new.parquet")
    answers = predict(mastery, record, servers[way], log, log / "new.parquet")
    assert answers.height == 40
    assert "sequence" in set(answers["basis"])
    sums = answers.select(pl.sum_horizontal(pl.col("^probability_.*$")))
    assert sums.to_series().to_list() == pytest.approx([1.0] * 40, abs=1e-5)


def test_events_in_a_unit_that_training_has_never_seen_are_answered(
    mastery: Mastery, record: dict[str, Any], servers: list[str], log: Path, tmp_path: Path
) -> None:
    for table in ("events", "outcomes"):
        rows = pl.read_parquet(log / f"{table}.parquet").head(300)
        renamed = rows.with_columns(unit_id=pl.lit("a course of next year"))
        renamed.write_parquet(tmp_path / f"{table}.parquet")
    answers = predict(mastery, record, servers[0], tmp_path, tmp_path / "outcomes.parquet")
    assert answers.height == 300
    assert set(answers["basis"]) == {"sequence", "prior"}
