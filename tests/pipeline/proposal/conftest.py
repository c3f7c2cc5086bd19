"""Logs for `mastery init`, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.config import load_config
from components.config.root import Config
from tests.pipeline.cli.typed import mastery

Init = Callable[..., Config]


@pytest.fixture
def no_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the schema, for which TensorFlow Data Validation would be imported."""
    monkeypatch.setattr("pipeline.proposal.write.schema_text", lambda _: "# none\n")


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_schema: None) -> Init:  # noqa: ARG001
    """Runs `mastery init` without questions, and returns the configuration that it wrote."""

    def run(*arguments: str | Path) -> Config:
        out = tmp_path / "proposed" / "log.yaml"
        options = ["init", *map(str, arguments), "--yes", "--out", str(out)]
        assert mastery(monkeypatch, *options) == 0
        return load_config(out)

    return run
