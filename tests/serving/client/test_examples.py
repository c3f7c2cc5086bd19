"""The examples in the client's docstrings, which people copy into notebooks."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from tests.serving.client.stand_in import Server
from tests.serving.client.test_explanations import encoded

MODULES = ("serving.client", "serving.client.answers", "serving.client.calls",
           "serving.client.grpc_transport",
           "serving.client.model_client", "serving.messages", "serving.predict",
           "serving.server.connections",
           "serving.server.open_inference_metadata", "serving.server.request_error",
           "serving.server.server_settings", "serving.server.version_policy")  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_are_right(
    server: Server, explaining_server: Server, example: bytes, module: str
) -> None:
    learner = {"event_type": ["quiz", ""], "correct": [1.0, 1.0], "unit_id": "u", "level": 0.0}
    names: dict[str, Any] = {
        "SERVER": server.grpc,
        "EXPLAINING_SERVER": explaining_server.grpc,
        "EXAMPLES": [example],
        "EXAMPLES_WITH_STEPS": [encoded(learner)],
        "LEARNER": learner,
    }
    results = doctest.testmod(importlib.import_module(module), extraglobs=names)
    assert results.attempted
    assert not results.failed
