"""The examples in the client's docstrings, which people copy into notebooks."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from tests.serving.client.stand_in import Server

MODULES = ("serving.client", "serving.client.calls", "serving.client.grpc_transport",
           "serving.client.model_client", "serving.messages", "serving.predict",
           "serving.server.connections",
           "serving.server.open_inference_metadata", "serving.server.request_error",
           "serving.server.server_settings", "serving.server.version_policy")  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_are_right(server: Server, example: bytes, module: str) -> None:
    names: dict[str, Any] = {"SERVER": server.grpc, "EXAMPLES": [example]}
    results = doctest.testmod(importlib.import_module(module), extraglobs=names)
    assert results.attempted
    assert not results.failed
