"""`mastery prediction-log`: shows, exports and purges what a server has logged."""

from __future__ import annotations

import csv
import json
import stat
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from serving.prediction_log.log_store import open_store
from tests.pipeline.cli.typed import mastery
from tests.serving.prediction_log.frames_of import frame_of, hash_of, row_of, write_segment

Capture = pytest.CaptureFixture[str]
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(params=["parquet", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A log of three rows, of now, a day ago and forty days ago."""
    target = str(tmp_path / "log") if request.param == "parquet" else f"sqlite:///{tmp_path}/a.db"
    rows = [
        row_of(1.0, at=NOW - timedelta(days=40)),
        row_of(2.0, at=NOW - timedelta(days=1), label="canary"),
        row_of(3.0, at=NOW, version=8),
    ]
    (tmp_path / "log").mkdir()
    with closing(open_store(target)) as store:
        store.add("a", rows)
    return target


def shown(capsys: Capture) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_last_rows(log: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert mastery(monkeypatch, "prediction-log", "show", "--log", log) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines[1:]] == ["–", "canary", "–"]
    assert lines[0].split()[:4] == ["Time", "(UTC)", "Version", "Label"]
    assert f"{NOW:%Y-%m-%d %H:%M:%S}" in lines[3]
    assert hash_of(3.0).hex()[:12] in lines[3]
    assert "250.0" in lines[3]


def test_rows_for_programs(log: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("MASTERY_ANSWERS_URL", log)
    assert mastery(monkeypatch, "prediction-log", "show", "--last", "1", "--json") == 0
    (row,) = shown(capsys)
    assert (row["version"], row["at"]) == (8, NOW.isoformat())
    assert row["answer"] == {"score": 3.0, "classes": ["low", "high"]}

    show = ("prediction-log", "show", "--json")
    for options, scores in (
        (("--label", "canary"), [2.0]),
        (("--since", f"{NOW - timedelta(days=3):%Y-%m-%d}"), [2.0, 3.0]),
        (("--until", f"{NOW - timedelta(days=3):%Y-%m-%d}"), [1.0]),
        (("--input-hash", hash_of(1.0).hex()[:9].upper()), [1.0]),
        (("--version", "8"), [3.0]),
    ):
        assert mastery(monkeypatch, *show, *options) == 0
        assert [row["answer"]["score"] for row in shown(capsys)] == scores


def test_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert mastery(monkeypatch, "prediction-log", "show", "--log", str(tmp_path)) == 0
    assert capsys.readouterr().out == "No such rows.\n"
    assert (
        mastery(
            monkeypatch, "prediction-log", "export", "--log", str(tmp_path),
            "--to", str(tmp_path / "none.parquet"),
        )
        == 0
    )  # fmt: skip
    assert pl.read_parquet(tmp_path / "none.parquet").is_empty()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_exports(
    log: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tmp_path / f"out{ending}"
    given = ("prediction-log", "export", "--log", log, "--to", str(path), "--label", "canary")
    assert mastery(monkeypatch, *given) == 0
    assert capsys.readouterr().out == f"1 rows in {path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640

    if ending == ".parquet":
        (row,) = pl.read_parquet(path).to_dicts()
        assert row["at"] == NOW - timedelta(days=1)
    elif ending == ".csv":
        (row,) = csv.DictReader(path.read_text().splitlines())
    else:
        row = json.loads(path.read_text())
        row["answer"] = json.dumps(row["answer"])
    assert json.loads(row["answer"])["score"] == 2.0
    assert row["input_hash"] == hash_of(2.0).hex()


def test_purging(log: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    purge = ("prediction-log", "purge", "--log", log, "--days", "30")
    assert mastery(monkeypatch, *purge, "--dry-run") == 0
    assert mastery(monkeypatch, *purge) == 0
    assert mastery(monkeypatch, *purge) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 rows would be removed.", "1 rows removed.", "0 rows removed.",
    ]  # fmt: skip


def test_rows_of_a_server_that_runs_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write_segment(tmp_path / ".spool" / "a.spool", frame_of([5.0]))
    assert mastery(monkeypatch, "prediction-log", "show", "--log", str(tmp_path), "--json") == 0
    assert [row["answer"]["score"] for row in shown(capsys)] == [5.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("show", "--log", "/nowhere"), "/nowhere: expected the folder of a prediction log"),
        (("show",), "expected the prediction log, as --log DIR_OR_URL or in $MASTERY_ANSWERS_URL"),
        (("show", "--log", ".", "--since", "soon"), "--since: expected a date or time such as"),
        (("export", "--log", ".", "--to", "x.xlsx"), "ends in .parquet, .csv, .jsonl"),
    ],
)
def test_one_clear_error(
    options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.delenv("MASTERY_ANSWERS_URL", raising=False)
    assert mastery(monkeypatch, "prediction-log", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
