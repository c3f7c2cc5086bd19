"""The demonstration, as `make demo` runs it, but with a model of a small log."""

from __future__ import annotations

import mailbox
import sqlite3
from pathlib import Path

import pytest

from tests.end_to_end.conftest import REPOSITORY, Mastery

pytestmark = pytest.mark.slow


def test_a_term_is_lived_through_once(mastery: Mastery, sample: list[str], tmp_path: Path) -> None:
    ran = mastery("run", *sample, "--root", tmp_path / "runs")
    assert ran.returncode == 0, ran.stdout + ran.stderr

    settings = (REPOSITORY / "configs" / "answers.yaml").read_text(encoding="utf-8")
    answers = tmp_path / "answers.yaml"
    answers.write_text(settings.replace("../sample/", f"{tmp_path}/"), encoding="utf-8")
    demo = ["demo", *sample, "--root", tmp_path / "runs", "--answers", answers]
    demo += ["--folder", tmp_path / "demo", "--no-board"]
    first = mastery(*demo)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count(" answers ") == 28

    with sqlite3.connect(tmp_path / "demo" / "answers.db") as database:
        days = database.execute("SELECT count(DISTINCT as_of) FROM answers").fetchone()
        users = database.execute("SELECT role FROM users ORDER BY role").fetchall()
        came_in = database.execute("SELECT count(*) FROM outcomes").fetchone()
    assert days == (28,)
    assert users == [("admin",), ("manager",), ("teacher",)]
    assert came_in[0] > 0
    mails = len(mailbox.mbox(str(tmp_path / "teachers.mbox"), create=False))
    assert mails > 0

    again = mastery(*demo)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "there already" in again.stdout
    assert len(mailbox.mbox(str(tmp_path / "teachers.mbox"), create=False)) == mails
