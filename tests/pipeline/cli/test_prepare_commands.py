"""`mastery simulate`, `check-log`, `schema` and `doctor`."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from pipeline.environment import doctor as examination
from tests.pipeline.cli.typed import mastery

CONFIG = Path(__file__).parents[3] / "configs" / "sample.yaml"


def test_a_simulated_log_can_be_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "log"
    assert mastery(monkeypatch, "simulate", "--learners", "300", "--out", str(out)) == 0
    assert str(out) in capsys.readouterr().out
    tables = [f"--set=data.{table}={out}/{table}.parquet" for table in ("events", "outcomes")]
    assert mastery(monkeypatch, "check-log", "--config", str(CONFIG), *tables) == 0
    assert "outcomes  " in capsys.readouterr().out


def test_weeks_are_read_by_the_pattern_of_their_dates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--weeks", "3", "--change", "relation:2", "--change", "intake:3"]
    written = ["--learners", "250", "--out", str(tmp_path / "log"), *options]
    assert mastery(monkeypatch, "simulate", *written) == 0
    assert "wrote 3 weeks, " in capsys.readouterr().out
    pattern = f"{tmp_path}/log/{{YYYY}}-{{MM}}-{{DD}}"
    tables = [f"--set=data.{table}={pattern}/{table}.parquet" for table in ("events", "outcomes")]
    window = ["--set", "data.span={last: 2}"]
    assert mastery(monkeypatch, "check-log", "--config", str(CONFIG), *tables, *window) == 0
    assert "2026-01-12 to 2026-01-19 (2 spans)" in capsys.readouterr().out


def test_the_ceiling_is_explained_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    explained = types.SimpleNamespace(describe=lambda: "the ceiling")
    monkeypatch.setattr("components.simulator.ceiling.explain", lambda _: explained)
    options = ["simulate", "--learners", "50", "--out", str(tmp_path / "log"), "--explain"]
    assert mastery(monkeypatch, *options) == 0
    assert capsys.readouterr().out.endswith("the ceiling\n")


@pytest.fixture
def schemas(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Stands in for the module that imports TensorFlow Data Validation."""
    module = types.ModuleType("pipeline.schema")
    module.infer_schema = lambda config: config.name  # type: ignore[attr-defined]
    module.write_schema = (  # type: ignore[attr-defined]
        lambda schema, path, *, force: f"{schema} {path.name} {force}"
    )
    module.diff_schema = lambda _: []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.schema", module)
    return module


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ([], "sample sample.pbtxt False\n"),
        (["--out", "b.pbtxt", "--force"], "sample b.pbtxt True\n"),
    ],
)
@pytest.mark.usefixtures("schemas")
def test_a_schema_goes_to_the_configured_file_or_to_another(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    written: str,
) -> None:
    assert mastery(monkeypatch, "schema", "infer", "--config", str(CONFIG), *options) == 0
    assert capsys.readouterr().out == written


@pytest.mark.parametrize(
    ("lines", "code", "printed"),
    [([], 0, "The log fits the schema.\n"), (["a: new", "b: gone"], 1, "a: new\nb: gone\n")],
)
def test_a_difference_to_the_schema_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    schemas: types.ModuleType,
    lines: list[str],
    code: int,
    printed: str,
) -> None:
    schemas.diff_schema = lambda _: lines  # type: ignore[attr-defined]
    assert mastery(monkeypatch, "schema", "diff", "--config", str(CONFIG)) == code
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], (False, False)),
        (["--deep"], (True, False)),
        (["--config", str(CONFIG), "--set", "training.device=gpu"], (False, True)),
    ],
)
def test_doctor_looks_for_a_gpu_where_the_configuration_needs_one(
    monkeypatch: pytest.MonkeyPatch, options: list[str], asked: tuple[bool, bool]
) -> None:
    found = []

    def examine(*, deep: bool, gpu_wanted: bool, others: object) -> int:  # noqa: ARG001
        found.append((deep, gpu_wanted))
        return 1

    monkeypatch.setattr(examination, "doctor", examine)
    assert mastery(monkeypatch, "doctor", *options) == 1
    assert found == [asked]
