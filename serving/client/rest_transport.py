"""Calls by REST."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from components.command.escape import shorten
from serving.client.calls import LEARNER_HEADER, PredictError, Target, Transient

BUSY = (429, 503)


class RestTransport:
    """Sends predict requests over connections that stay open."""

    def __init__(self, address: str, target: Target, *, token: str | None = None) -> None:
        """Prepares the transport; sends nothing yet.

        Args:
            address: such as `http://localhost:8501`, maybe with a path before `/v1`.
            target: the model.
            token: sent to the server; use https with one.
        """
        self._url = f"{address.rstrip('/')}/v1/models/{_path(target)}:predict"
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(headers=headers)

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Sequence[Any]],
        timeout: float,
        learners: str | None = None,
    ) -> dict[str, list[Any]]:
        """Returns the outputs of a signature.

        Args:
            signature: its name.
            inputs: columns of serialized examples (bytes), text or numbers.
            timeout: seconds.
            learners: the header `X-Learner`.

        Raises:
            Transient: the server cannot be reached, breaks the connection, or is busy.
            PredictError: it refuses the request, does not answer within `timeout` seconds, or
                answers with something other than predictions.
        """
        columns = {name: [_plain(value) for value in column] for name, column in inputs.items()}
        # NaN is a number for TensorFlow Serving: a missing one.
        body = json.dumps({"signature_name": signature, "inputs": columns}, ensure_ascii=False)
        try:
            headers = None if learners is None else {LEARNER_HEADER: learners}
            response = self._client.post(
                self._url, content=body.encode(), timeout=timeout, headers=headers
            )
        except httpx.TimeoutException as error:
            raise PredictError(f"{self._url}: no answer within {timeout:.3g} s.") from error
        except httpx.TransportError as error:
            raise Transient(f"{self._url}: the server cannot be reached ({error}).") from error

        if response.status_code in BUSY:
            raise Transient(self._refusal(response), _retry_after(response))
        if response.status_code != httpx.codes.OK:
            raise PredictError(self._refusal(response))
        return self._outputs(response)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _refusal(self, response: httpx.Response) -> str:
        try:
            text = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            text = shorten(response.text, 200)
        status = f"{response.status_code} {response.reason_phrase}"
        reason = str(text).strip().rstrip(".")
        return f"{self._url}: the server answered {status}{f': {reason}' if reason else ''}."

    def _outputs(self, response: httpx.Response) -> dict[str, list[Any]]:
        try:
            outputs: dict[str, list[Any]] = response.json()["outputs"]
        except (ValueError, KeyError, TypeError) as error:
            raise PredictError(
                f"{self._url}: expected JSON with 'outputs', found {shorten(response.text, 200)!r}."
            ) from error
        return outputs


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _path(target: Target) -> str:
    name = quote(target.model, safe="")
    if target.version is not None:
        return f"{name}/versions/{target.version}"
    return f"{name}/labels/{quote(target.label, safe='')}" if target.label else name


def _retry_after(response: httpx.Response) -> float:
    """Returns the seconds that the server asks to wait; 0 for a date, which is rare."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0
