"""The well-behaved client beside the attacks of `benchmarks.attacks`, in a process of its own.

It sends 40 requests a second, by REST and by gRPC, on connections that it keeps and on new ones.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.attack_kinds import TOKEN
from benchmarks.serving_clients import as_json, requests_of

ASKS_EACH_SECOND = 40


def main(version: Path, name: str, rest: int, by_grpc: int) -> None:
    """Prints a line, sends requests until its input is closed, then prints a list of them.

    Each is [time, seconds, error or null].
    """
    asked = requests_of(version)
    calls = [call for at in range(10_000) for call in _calls(asked, name, rest, by_grpc, at)]
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

    found: list[Any] = []
    print("asking", flush=True)
    begun = time.monotonic()
    for number, call in enumerate(calls):
        if stop.wait(max(0.0, begun + number / ASKS_EACH_SECOND - time.monotonic())):
            break

        started = time.monotonic()
        error = None
        try:
            call()
        except Exception as raised:
            error = f"{type(raised).__name__} {str(raised)[:200]}"
        found.append([started, time.monotonic() - started, error])
    print(json.dumps(found))


def _calls(
    asked: list[Any], name: str, rest: int, by_grpc: int, at: int
) -> Iterator[Callable[[], None]]:
    """Yields a call by REST and one by gRPC; every tenth opens a connection of its own."""
    import grpc
    import httpx
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    request = asked[at % len(asked)]
    request.model_spec.name = name
    request.model_spec.ClearField("version_choice")
    kept = _kept(rest, by_grpc)

    def ask_rest(client: Any) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"http://127.0.0.1:{rest}/v1/models/{name}:predict"
        client.post(url, content=as_json(request), headers=headers).raise_for_status()

    def ask_grpc(channel: Any) -> None:
        PredictionServiceStub(channel).Predict(
            request, timeout=10, metadata=(("authorization", f"Bearer {TOKEN}"),)
        )

    def new_rest() -> None:
        with httpx.Client(timeout=10, trust_env=False) as client:
            ask_rest(client)

    def new_grpc() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{by_grpc}", options) as channel:
            ask_grpc(channel)

    is_new = at % 10 == 9
    yield new_rest if is_new else lambda: ask_rest(kept[0])
    yield new_grpc if is_new else lambda: ask_grpc(kept[1])


_KEPT: dict[tuple[int, int], tuple[Any, Any]] = {}


def _kept(rest: int, by_grpc: int) -> tuple[Any, Any]:
    import grpc
    import httpx

    if (rest, by_grpc) not in _KEPT:
        client = httpx.Client(timeout=10, trust_env=False)
        _KEPT[rest, by_grpc] = client, grpc.insecure_channel(f"127.0.0.1:{by_grpc}")
    return _KEPT[rest, by_grpc]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
