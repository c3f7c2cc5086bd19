"""The command line as people type it, in the process of the test."""

from __future__ import annotations

import sys

import pytest

from pipeline.cli import main as command_line


def mastery(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Runs `mastery` with arguments, and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["mastery", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0
