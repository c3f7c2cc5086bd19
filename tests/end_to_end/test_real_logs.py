"""A real log through the whole pipeline, where the real logs are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import REAL_LOGS, REPOSITORY, Mastery

pytestmark = pytest.mark.slow


def test_epfl_from_log_to_pushed_model(mastery: Mastery, tmp_path: Path) -> None:
    if not (REAL_LOGS / "epfl").is_dir():
        pytest.skip(f"the real logs are not here: expected {REAL_LOGS / 'epfl'}")
    ran = mastery("run", "--config", REPOSITORY / "configs" / "epfl.yaml", "--root", tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [record] = json.loads(mastery("runs", "--root", tmp_path, "--json").stdout)
    metrics = json.loads(Path(record["metrics"]).read_text(encoding="utf-8"))
    assert metrics["blessed"]
    assert Path(record["pushed_version"], "saved_model.pb").exists()
