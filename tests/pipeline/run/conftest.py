"""What tests of runs share: the processes that were forked."""

from __future__ import annotations

import os

import pytest


class Forks(list[int]):
    """The numbers of the processes that a test has forked."""

    def have_ended(self) -> bool:
        """Returns whether there are any, and all have ended and were waited for."""
        return bool(self) and not any(map(_is_child, self))


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> Forks:
    forked, fork = Forks(), os.fork

    def note() -> int:
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr(os, "fork", note)
    return forked


def _is_child(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True
