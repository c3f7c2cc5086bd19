"""`sys.modules` for the time of a test."""

from __future__ import annotations

import pytest

from tests.pipeline.run.fake_nodes import Modules


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    """Modules that are put here stand in `sys.modules` until the test is over."""
    return Modules(monkeypatch)
