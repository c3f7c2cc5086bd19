"""A Beam runner that loses workers: every function is called twice for every element.

On a cluster a worker that is not heard from is given up, and its work done again by another one.
The first may go on meanwhile, and all that it writes is written; what it returns is dropped.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from apache_beam.internal import pickler

from components.node import in_memory_runner
from components.node.beam_operations import Call, Outlet


class CalledTwice(Call):
    """Calls a function, and before or meanwhile a copy of it, whose results it drops."""

    at_once = True

    def __init__(
        self, transform: Any, function: Any, views: list[Any], receivers: dict[Any, Outlet]
    ) -> None:
        copy = pickler.loads(pickler.dumps(function))
        super().__init__(transform, function, views, receivers)
        self._lost = Call(transform, copy, views, {tag: Outlet() for tag in receivers})
        self._pool = ThreadPoolExecutor(1)
        call, tear_down, finish = self.process, self.teardown, self.finish

        def process(element: Any) -> None:
            lost = self._pool.submit(self._lost.process, element)
            if not self.at_once:
                lost.result()
            call(element)
            lost.result()

        def end(of_lost: Any, own: Any) -> Any:
            def both() -> None:
                of_lost()
                own()

            return both

        self.process = process  # type: ignore[method-assign]
        self.finish = end(self._lost.finish, finish)  # type: ignore[method-assign]
        self.teardown = end(self._lost.teardown, tear_down)  # type: ignore[method-assign]

    def start(self) -> None:
        self._lost.start()
        super().start()


class CalledAgain(CalledTwice):
    """Calls a copy of a function first."""

    at_once = False


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the runner for one process call everything twice at the same time."""
    monkeypatch.setattr(in_memory_runner, "Call", CalledTwice)


@pytest.fixture
def retrying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the runner for one process call everything twice, one after the other."""
    monkeypatch.setattr(in_memory_runner, "Call", CalledAgain)
