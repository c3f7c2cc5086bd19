"""A stand-in for Kubeflow Pipelines, one for the compiler, and the command line in between."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import main as command_line
from tests.pipeline.kubeflow.stand_in import StandIn
from tests.pipeline.kubeflow.stand_in_server import Server

CONFIG = {
    "name": "algebra",
    "data": {"events": "events.csv", "outcomes": "outcomes.csv"},
    "schema": "algebra.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {"features": {"event_type": {"type": "categorical"}}},
    "gates": [{"metric": "f1_macro", "min": 0.5}],
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running stand-in; the test fails if the published API does not describe a request."""
    with Server() as running:
        monkeypatch.setenv("MASTERY_KUBEFLOW_HOST", running.url)
        yield running
    assert running.stand_in.violations == []


@pytest.fixture
def cluster(server: Server) -> StandIn:
    return server.stand_in


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that compiling writes in the test; the compiler has tests of its own."""
    source = tmp_path / "compiled.yaml"
    source.write_bytes(Path(__file__).with_name("compiled.yaml").read_bytes())

    def compile_pipeline(
        config: Any,
        config_file: Path,
        output: Path,
        target: str = "kubeflow",
        settings: Sequence[str] = (),
    ) -> None:
        assert config.name == CONFIG["name"]
        assert config_file.is_file()
        assert all("=" in setting for setting in settings)
        output.write_text(
            source.read_text().replace("image: example.org", f"image: {target}.example.org")
        )

    compiler = types.ModuleType("pipeline.kubeflow.compile")
    compiler.compile_pipeline = compile_pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.kubeflow.compile", compiler)
    return source


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "algebra.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    return file


Mastery = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mastery(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    compiled: Path,
) -> Mastery:
    """Runs `mastery kubeflow ...` and returns exit code, standard output and standard error."""
    assert compiled.is_file()
    monkeypatch.setattr("pipeline.kubeflow.runs.PAUSE", 0.0)
    monkeypatch.setenv("COLUMNS", "200")

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["mastery", "kubeflow", command, "--config", str(config), *arguments]
        )
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run
