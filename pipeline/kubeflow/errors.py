"""What goes wrong between here and Kubeflow Pipelines, in words."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from components.errors import MasteryError

LONGEST = 600  # characters of a server's own message that are shown


class KubeflowError(MasteryError):
    """Kubeflow Pipelines refused, was not reached, or was not understood.

    Attributes:
        status: the HTTP status it answered with; 0 where there was no answer.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.status in (0, 408, 429) or self.status >= 500


@contextmanager
def explained(host: str, token_env: str | None) -> Iterator[None]:
    """Keeps KFP's client from printing inside the block, and turns what it raises into a `KubeflowError`.

    Args:
        host: the address that is spoken to.
        token_env: the name of the environment variable whose value was sent as a token, if any.
    """
    import kfp_server_api
    import urllib3

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it warns of every retry
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # KFP greets every new client
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # its generated part calls old names of urllib3
            yield
    except kfp_server_api.ApiException as error:
        raise KubeflowError(
            _refused(host, token_env, error.status or 0, error.reason, error.body), error.status
        ) from None
    except urllib3.exceptions.HTTPError as error:
        raise KubeflowError(_not_reached(host, error)) from None


def _refused(
    host: str, token_env: str | None, status: int, reason: str | None, body: str | None
) -> str:
    said = message_of(body) or reason or ""
    if status == 401:
        what = (
            f"the token in ${token_env} was not accepted"
            if token_env
            else "authentication required"
        )
        remedy = (
            f"Put a fresh token into ${token_env}"
            if token_env
            else "Name the environment variable that holds a bearer token in `kubeflow.token_env`"
        )
        return f"{host}: {what} (401{_said(said)}). {remedy}."
    if status == 403:
        return (
            f"{host}: you are not allowed to do this (403{_said(said)}). "
            "Check `kubeflow.namespace`, and your role in it."
        )
    if status == 404:
        return f"{host}: not found (404{_said(said)})."
    if status >= 500:
        return f"{host}: Kubeflow Pipelines itself failed ({status}{_said(said)}). Try again; its own log says more."
    return f"{host}: Kubeflow Pipelines refused the request ({status}{_said(said)})."


def message_of(body: str | None) -> str:
    """Returns the message in an answer's body: KFP's JSON or plain text, never a page of HTML."""
    try:
        content = json.loads(body or "")
    except ValueError:
        content = body or ""
    if isinstance(content, dict):
        content = next(
            (content[key] for key in ("error_message", "message", "error") if content.get(key)), ""
        )
    text = " ".join(str(content).split())
    if text.startswith("<"):
        return ""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _said(text: str) -> str:
    return f": {text}" if text else ""


def _not_reached(host: str, error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    kind = type(reason).__name__
    if kind == "SSLError":
        return (
            f"{host}: its certificate is not trusted. "
            "Name the certificates of the authority that signed it in `kubeflow.ca_cert`."
        )
    why = {
        "NameResolutionError": "no such host name",
        "NewConnectionError": "nothing answers there",
        "ConnectTimeoutError": "nothing answers there",
        "ReadTimeoutError": "it did not answer in time",
        "ProtocolError": "it closed the connection",
    }.get(kind, kind)
    return (
        f"{host}: expected Kubeflow Pipelines, could not reach it ({why}). Check the address in `kubeflow.host` or "
        "$MASTERY_KUBEFLOW_HOST; for a cluster without a public address, is `kubectl port-forward` running?"
    )
