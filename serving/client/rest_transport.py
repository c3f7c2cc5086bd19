"""Asking by REST."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx

from components.contracts.names import EXAMPLES, SERVING_DEFAULT
from serving.client.calls import PredictError, Target, Transient

BUSY = (429, 503)


class RestTransport:
    """Sends predict requests over connections that are kept open."""

    def __init__(self, address: str, target: Target, *, token: str | None = None) -> None:
        """Binds the transport; nothing is sent yet.

        Args:
            address: such as `http://localhost:8501`, maybe with a path in front of `/v1`.
            target: the model.
            token: what the server wants to be shown, if anything; use https with one.
        """
        self._url = f"{address.rstrip('/')}/v1/models/{_path(target)}:predict"
        self._target = target
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"} if token else None)

    def predict(self, examples: Sequence[bytes], timeout: float) -> dict[str, list[Any]]:
        """Returns the outputs for serialized examples.

        Raises:
            Transient: the server is not there, breaks off, or takes no request now.
            PredictError: it refuses the request, or has not answered in `timeout` seconds.
        """
        encoded = [{"b64": base64.b64encode(example).decode()} for example in examples]
        body = {"signature_name": SERVING_DEFAULT, "inputs": {EXAMPLES: encoded}}
        try:
            response = self._client.post(self._url, json=body, timeout=timeout)
        except httpx.TimeoutException as error:
            raise PredictError(
                f"{self._url}: expected an answer within {timeout:.3g} s, found none."
            ) from error
        except httpx.TransportError as error:
            raise Transient(f"{self._url}: expected a server, found none ({error}).") from error
        if response.status_code in BUSY:
            raise Transient(_describe(self._url, response), _retry_after(response))
        if response.status_code != httpx.codes.OK:
            raise PredictError(_describe(self._url, response))
        outputs: dict[str, list[Any]] = response.json()["outputs"]
        return outputs

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def _path(target: Target) -> str:
    name = quote(target.model, safe="")
    if target.version is not None:
        return f"{name}/versions/{target.version}"
    return f"{name}/labels/{quote(target.label, safe='')}" if target.label else name


def _describe(url: str, response: httpx.Response) -> str:
    try:
        text = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        text = response.text[:200]
    found = f"{response.status_code} {response.reason_phrase}: {str(text).rstrip('.')}"
    return f"{url}: expected answers, found {found}."


def _retry_after(response: httpx.Response) -> float:
    """Returns the server's wish in seconds; it may also be a date, which is not worth reading."""
    wish = response.headers.get("Retry-After", "")
    return float(wish) if wish.isdecimal() else 0.0
