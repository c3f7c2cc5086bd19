"""The examples in the configuration's docstrings, which people copy into notebooks."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
MODULES = (
    "components.config", "components.config.data", "components.config.load",
    "components.command.explain", "components.config.reasons", "components.config.section",
    "components.config.strict_yaml", "components.config.outcomes",
    "components.config.record_paths", "components.config.spans",
    "components.files.safe_paths", "components.reasons.ranking", "components.reasons.wording",
)  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_are_right(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.chdir(REPOSITORY)
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted
    assert not results.failed
