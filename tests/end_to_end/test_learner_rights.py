"""A learner who wants to be forgotten: shown, handed over, erased, and left out of the next run."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from tests.end_to_end.conftest import REPOSITORY, Mastery

pytestmark = pytest.mark.slow


def files_with(folder: Path, learner: str) -> list[str]:
    """Returns the files that hold an id, also compressed ones."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        if path.suffix == ".parquet":
            content = str(pl.read_parquet(path).rows()).encode()
        if learner.encode() in content:
            found.append(str(path.relative_to(folder)))
    return sorted(found)


def tables_with(database: Path, learner: str) -> list[str]:
    with sqlite3.connect(database) as connection:
        return [line for line in connection.iterdump() if learner in line]


def test_an_erased_learner_is_in_no_file_and_no_table(mastery: Mastery, tmp_path: Path) -> None:
    def succeed(*arguments: str | Path) -> str:
        done = mastery(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    log, root = tmp_path / "log", tmp_path / "runs"
    succeed("simulate", "--learners", "600", "--seed", "3", "--out", log)
    left_out = tmp_path / "left-out.json"
    options = {
        "data.events": log / "events.parquet",
        "data.outcomes": log / "outcomes.parquet",
        "data.left_out": left_out,
        "training.epochs": 1,
        "gates": "[{metric: f1_macro, min: 0.05}]",
        "fairness.gates": "[]",
    }
    settings = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    sample = ["--config", str(REPOSITORY / "configs" / "sample.yaml"), *settings]
    sample += ["--root", str(root)]

    refused = mastery("run", *sample)
    assert refused.returncode == 2
    assert "mastery learner opt-out --list" in refused.stdout + refused.stderr
    succeed("learner", "opt-out", "--list", left_out)
    succeed("run", *sample)
    tables = ["--events", str(log / "events.parquet"), "--learners", str(log / "outcomes.parquet")]
    scoring = ["score", *sample, *tables, "--as-of", "2025-09-01", "--to", "answers.db"]
    succeed(*scoring)

    train = root.glob("sample/nodes/ExampleGen/examples/*/Split-train/*.gz")
    known = pl.read_parquet(log / "outcomes.parquet")["learner_id"].unique(maintain_order=True)
    records = b"".join(gzip.decompress(path.read_bytes()) for path in train)
    learner = next(name for name in known if name.encode() in records)

    shown = succeed("learner", "show", learner, *sample, "--db", "answers.db")
    [version] = root.glob("sample/serving/[0-9]*")
    assert f"{version} was trained with this learner" in shown
    for kept in ("events.parquet", "outcomes.parquet", "data_tfrecord", "current_answers"):
        assert kept in shown
    succeed("learner", "export", learner, "--db", "answers.db", "--out", "handed-over.json")
    handed_over = tmp_path / "handed-over.json"
    assert json.loads(handed_over.read_text())["tables"]["current_answers"]
    handed_over.unlink()

    erased = succeed(
        "learner", "erase", learner, *sample, "--db", "answers.db", "--rewrite-log", "--yes"
    )
    assert "the next run leaves the learner out" in erased
    assert files_with(tmp_path, learner) == []
    assert tables_with(tmp_path / "answers.db", learner) == []
    assert "nothing is kept" in succeed("learner", "show", learner, *sample, "--db", "answers.db")

    # A platform that delivers the learner again does not bring them back.
    succeed("simulate", "--learners", "600", "--seed", "3", "--out", log, "--overwrite")
    assert learner in pl.read_parquet(log / "events.parquet")["learner_id"]
    succeed("run", *sample)
    succeed(*scoring)
    assert files_with(root, learner) == []
    assert tables_with(tmp_path / "answers.db", learner) == []
