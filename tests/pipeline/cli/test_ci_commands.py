"""`mastery ci` before anything is trained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.cli import main as command_line

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--baseline", "nowhere"], "--baseline nowhere: expected a pushed version"),
        (["--set", "ci.learners=0"], "ci.learners: expected at least 1, found 0"),
        (["--set", "data.events=nowhere.csv"], "nowhere.csv: expected a file or folder of events"),
    ],
)
def test_what_cannot_be_started_is_an_error_and_leaves_no_results(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mastery", "ci", "--config", str(CONFIG), *options])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "ci").exists()
