"""The commands `score`, `answers upgrade` and `answers import`, and which version they take."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from components.errors import MasteryError, VersionError
from pipeline.cli.main import app
from serving.answers.database import open_database
from serving.answers.scoring.versions import PushedVersion, newest_version, open_version
from serving.answers.tables import CurrentAnswer
from serving.models.promotion import promote
from serving.models.stopping import StoppedError, stop
from serving.models.stores import open_storage
from tests.serving.answers.scoring.conftest import push


def run(*arguments: str) -> str:
    """Runs a command that has to end well; returns what it printed."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_score_and_import_go_together(version: PushedVersion, log: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/answers.db"
    assert "its tables are those of this version" in run("answers", "upgrade", "--db", url)
    said = run(
        "score", "--model", str(version.folder), "--events", str(log / "events.parquet"),
        "--learners", str(log / "learners.csv"), "--to", url, "--as-of", "2026-03-09",
    )  # fmt: skip
    assert (
        "small 7: 18 answers about 9 learners as of 2026-03-09 00:00:00 UTC, 18 of them new" in said
    )
    assert "1 learners have no row in --learners" in said

    (tmp_path / "groups.csv").write_text("group_id,name\na,A\n")
    (tmp_path / "people.csv").write_text("learner_id,group_id,phone\nl0,a,1\n")
    said = run(
        "answers", "import", "--db", url, "--groups", str(tmp_path / "groups.csv"),
        "--learners", str(tmp_path / "people.csv"),
    )  # fmt: skip
    assert "learners: 1 rows, 1 of them new or changed." in said
    assert "learners: not read: phone." in said
    engine = open_database(url)
    with Session(engine) as session:
        groups = select(CurrentAnswer.learner_id).where(CurrentAnswer.group_id == "a")
        assert set(session.scalars(groups)) == {"l0"}
    engine.dispose()


def test_the_stable_version_goes_before_a_newer_one(saved_model: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        push(saved_model, tmp_path, number)
    with newest_version(str(tmp_path)) as version:
        assert version.number == 2
    promote(open_storage(str(tmp_path)), 1)
    with newest_version(str(tmp_path)) as version:
        assert version.number == 1


def test_without_a_version_nothing_is_scored(tmp_path: Path) -> None:
    with pytest.raises(MasteryError, match="expected a pushed version, found none"):
        newest_version(str(tmp_path)).__enter__()


def test_nothing_is_scored_with_what_was_stopped(saved_model: Path, tmp_path: Path) -> None:
    folders = {number: push(saved_model, tmp_path, number) for number in (1, 2)}
    storage = open_storage(str(tmp_path))
    stop(storage, 2, "wrong answers")
    for refused in (
        lambda: newest_version(str(tmp_path)).__enter__(),
        lambda: open_version(folders[2]),
    ):
        with pytest.raises(StoppedError, match=r"version 2 of small was stopped by .*: wrong ans"):
            refused()
    promote(storage, 1)
    with newest_version(str(tmp_path)) as version:
        assert version.number == 1
    with pytest.raises(StoppedError):
        open_version(folders[2])


def test_a_changed_version_is_not_loaded(saved_model: Path, tmp_path: Path) -> None:
    folder = push(saved_model, tmp_path, 1)
    (folder / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(VersionError, match="expected the files that were pushed"):
        newest_version(str(tmp_path)).__enter__()


@pytest.mark.parametrize("numbers", [("5", "5"), ("1", "0"), ("nan", "1"), ("0", "inf")])
def test_a_range_of_labels_has_to_be_one(
    version: PushedVersion, log: Path, numbers: tuple[str, str]
) -> None:
    arguments = ["score", "--model", str(version.folder), "--events", str(log / "events.parquet")]
    done = CliRunner().invoke(app, [*arguments, "--label-range", *numbers])
    assert isinstance(done.exception, MasteryError)
    assert "expected two finite numbers" in str(done.exception)
