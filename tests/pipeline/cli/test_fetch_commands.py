"""`mastery fetch`, and commands that read a log: they fetch first, unless they are told not to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.record_store import PASSWORD, USER, Fault, Store, serve_store

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def store() -> Iterator[Store]:
    with serve_store() as running:
        yield running


@pytest.fixture
def config(store: Store, tmp_path: Path) -> Path:
    """A configuration of a log in the store, with a table of outcomes beside it."""
    outcomes = [
        f"u{number},unit,2026-11-27T0{hour}:00:00Z,{'yes' if number % 2 else 'no'}"
        for number in range(60) for hour in (3, 4)
    ]  # fmt: skip
    header = "learner_id,unit_id,as_of,label"
    (tmp_path / "outcomes.csv").write_text("\n".join([header, *outcomes]))
    written = tmp_path / "config.yaml"
    values = {
        "name": "store",
        "data": {
            "events": "log",
            "format": "xapi",
            "mapping": {
                "learner_id": "actor.account.name",
                "unit_id": {"constant": "unit"},
                "event_type": {"constant": "exercise"},
            },
            "fetch": {
                "statements": store.url,
                "user_env": "LRS_USER",
                "password_env": "LRS_PASSWORD",
            },
            "outcomes": "outcomes.csv",
            "min_class_examples": 1,
        },
        "schema": "schema.pbtxt",
        "label": {"column": "label", "classes": ["no", "yes"]},
        "steps": {"features": {"event_type": {"type": "categorical"}}},
        "gates": [{"metric": "f1_macro", "min": 0.1}],
    }
    written.write_text(yaml.safe_dump(values))
    return written


def mastery(*options: object, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", *map(str, options)],
        env={"PATH": "/usr/bin", "LRS_USER": USER, "LRS_PASSWORD": password},
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip


def test_fetched_before_it_is_read(store: Store, config: Path, tmp_path: Path) -> None:
    store.add(*range(59))
    assert "data.fetch" not in (ran := mastery("fetch", "--config", config)).stderr
    assert ran.stdout == f"{'statements':<26}        59 new\n"
    store.add(59)
    ran = mastery("check-log", "--config", config)
    assert ran.returncode == 0, ran.stderr
    assert f"fetched    {'statements':<26}         1 new" in ran.stdout
    assert "60 rows" in ran.stdout

    store.faults = [Fault(403)]
    ran = mastery("check-log", "--config", config, password="another-secret")
    assert ran.returncode == 2
    assert "403 Forbidden" in ran.stderr
    assert "Files that were fetched before are as they were; `--offline` reads them." in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "another-secret" not in ran.stdout + ran.stderr
    asked = len(store.requests)
    assert mastery("check-log", "--config", config, "--offline").returncode == 0
    assert mastery("check-log", "--config", config, "--set", "data.fetch=null").returncode == 0
    table = tmp_path / "table"
    assert mastery("convert", "--config", config, "--out", table, "--offline").returncode == 0
    assert len(store.requests) == asked


def test_without_a_configuration(store: Store, tmp_path: Path) -> None:
    store.add(1, 2)
    place = ("--statements", store.url, "--user-env", "LRS_USER", "--password-env", "LRS_PASSWORD")
    ran = mastery("fetch", *place, "--out", tmp_path / "log")
    assert ran.stdout == f"{'statements':<26}         2 new\n"
    assert len([*tmp_path.rglob("*.jsonl.gz")]) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "expected --config FILE, or where from and --out DIR"),
        (("--out", "log"), "expected one of database_env, statements and statements_env"),
        (("--out", "a.csv", "--database-env", "M"), "--out: expected a folder first"),
        (("--out", "log", "--database-env", "M"), "in the environment variable M, found none"),
        (("--out", "log", "--database-env", "a b"), "--database-env: expected the name of an"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: tuple[str, ...], expected: str) -> None:
    given = [str(tmp_path / item) if item == "log" else item for item in options]
    ran = mastery("fetch", *given)
    assert ran.returncode == 2
    assert expected in " ".join(ran.stderr.split())


def test_a_configuration_without_fetch(config: Path) -> None:
    ran = mastery("fetch", "--config", config, "--set", "data.fetch=null")
    assert ran.returncode == 2
    assert "expected data.fetch" in ran.stderr
