"""A version that answers: a graph, a queue for each of its signatures, and the requests that hold it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import partial

from serving.server.batching import Batcher
from serving.server.engine import LoadedModel
from serving.server.metrics import Metrics
from serving.server.settings import Settings


class Servable:
    """A version that answers.

    Attributes:
        version: its number.
        model: the graph.
        leases: requests that hold it.
    """

    def __init__(
        self,
        version: int,
        model: LoadedModel,
        settings: Settings,
        executor: Executor,
        metrics: Metrics,
    ) -> None:
        self.version, self.model, self.leases = version, model, 0
        self._batchers = {
            name: Batcher(
                signature,
                partial(model.run, signature),
                executor,
                settings.limits,
                settings.threads,
                lambda: metrics.requests_under_way == 1,
                metrics.batch,
            )
            for name, signature in model.signatures.items()
        }

    def batcher(self, signature_name: str) -> Batcher:
        """Returns the queue of a signature of the model."""
        return self._batchers[signature_name]

    async def close(self) -> None:
        """Waits for the requests that hold it and frees its memory."""
        while self.leases:
            await asyncio.sleep(0.005)
        for batcher in self._batchers.values():
            await batcher.drain()
        await asyncio.to_thread(self.model.close)
