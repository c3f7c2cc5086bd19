"""The connection to Kubeflow Pipelines, and the texts of its errors.

KFP's own client is in `pipeline.kubeflow.sdk`, which takes a second to import: a wrong address is
refused before that.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.command.escape import hide_userinfo, shorten
from components.errors import ConfigError, MasteryError

if TYPE_CHECKING:
    from components.config import Kubeflow
    from pipeline.kubeflow.sdk import Client

HOST = "MASTERY_KUBEFLOW_HOST"  # environment variable: the address; wins over the configuration
LONGEST = 600  # characters of a server's own message that are shown
_PAGE = 100  # items per request; the server's limit is 200

_UNAUTHENTICATED, _FORBIDDEN, NOT_FOUND, CONFLICT = 401, 403, 404, 409
_BUSY = (408, 429)
_NO_ANSWER = 0


class KubeflowError(MasteryError):
    """Kubeflow Pipelines refused a request, could not be reached, or answered something else.

    Attributes:
        status: the HTTP status it answered with; 0 where there was no answer.
    """

    def __init__(self, text: str, status: int = _NO_ANSWER) -> None:
        super().__init__(text)
        self.status = status

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.status in (_NO_ANSWER, *_BUSY) or self.status >= 500


@dataclass(frozen=True)
class Cluster:
    """A connection to Kubeflow Pipelines, which has answered.

    Attributes:
        client: KFP's client; call it inside `with cluster.translate_errors()` only.
        host: its address, without a slash at the end.
        namespace: the user's namespace; empty where Kubeflow serves one user only.
        token_env: the environment variable whose value is sent as a token, if any.
    """

    client: Client
    host: str
    namespace: str
    token_env: str | None

    def translate_errors(self) -> AbstractContextManager[None]:
        """Returns a block in which whatever goes wrong is a `KubeflowError`."""
        return translate_errors(self.host, self.token_env)

    def link(self, run_id: str) -> str:
        """Returns the page of a run in Kubeflow's user interface."""
        return f"{self.host}/#/runs/details/{run_id}"

    def pages(self, list_: Any, field: str, **options: Any) -> Iterator[Any]:
        """Yields the items of one of the client's `list_` methods, page after page, newest first.

        Args:
            list_: the method.
            field: of its answer, where the items are.
            options: further arguments of the method.
        """
        token = ""
        while True:
            with self.translate_errors():
                page = list_(
                    page_token=token, page_size=_PAGE, sort_by="created_at desc", **options
                )
            yield from getattr(page, field) or []
            token = page.next_page_token or ""
            if not token:
                return


def filter_by_name(name: str) -> str:
    """Returns the filter of a list request for items that are called `name`.

    The server ignores case: compare the names of its answer as well.
    """
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def connect_to_cluster(
    settings: Kubeflow, *, host: str | None = None, namespace: str | None = None
) -> Cluster:
    """Connects to Kubeflow Pipelines and makes sure that it answers.

    Args:
        settings: the section `kubeflow` of the configuration.
        host: wins over the environment's and the configuration's.
        namespace: wins over the configuration's.

    Raises:
        ConfigError: a setting is missing or invalid.
        KubeflowError: the host could not be reached, refused, or is not Kubeflow Pipelines 2.
    """
    address = _check_address(host or os.environ.get(HOST) or settings.host)
    token = _read_token(settings.token_env)
    if settings.ca_cert and not Path(settings.ca_cert).is_file():
        raise ConfigError(
            f"kubeflow.ca_cert: expected a file of certificates, found none at {settings.ca_cert}."
        )

    from pipeline.kubeflow.sdk import Client

    try:
        with translate_errors(address, settings.token_env):
            client = Client(
                address,
                namespace=namespace or settings.namespace,
                token=token,
                ca_cert=settings.ca_cert,
            )
            health = client.get_kfp_healthz()
    except KubeflowError as error:
        if error.status != NOT_FOUND:
            raise
        raise _no_api(address) from None

    own_namespace = client.get_user_namespace()
    if health.multi_user and not own_namespace:
        raise ConfigError(
            f"kubeflow.namespace: {address} serves several users; expected the namespace of your "
            "profile there or as --namespace, found none."
        )
    return Cluster(client, address, own_namespace, settings.token_env)


@contextmanager
def translate_errors(host: str, token_env: str | None) -> Iterator[None]:
    """Keeps KFP's client from printing, and turns what it raises into a `KubeflowError`.

    Args:
        host: the address that requests go to.
        token_env: the environment variable whose value is sent as a token, if any.

    Raises:
        KubeflowError: a request inside the block failed.
    """
    import kfp_server_api
    import urllib3

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it warns of every retry
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            # KFP greets new clients with one, and its generated part uses old names of urllib3.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except kfp_server_api.ApiException as error:
        status = error.status or _NO_ANSWER
        reason = message_of(error.body) or error.reason or ""
        raise KubeflowError(_refused(host, token_env, status, reason), status) from None
    except urllib3.exceptions.HTTPError as error:
        raise KubeflowError(_unreachable(host, error)) from None


def message_of(body: str | None) -> str:
    """Returns the message in an answer's body: KFP's JSON or plain text, never a page of HTML.

    >>> message_of('{"error": "", "message": "not found"}'), message_of("<html>Log in</html>")
    ('not found', '')
    """
    try:
        content = json.loads(body or "")
    except ValueError:
        content = body or ""
    if isinstance(content, dict):
        messages = (content.get(key) for key in ("error_message", "message", "error"))
        content = next(filter(None, messages), "")
    text = " ".join(str(content).split())
    return "" if text.startswith("<") else shorten(text, LONGEST)


def _check_address(host: str | None) -> str:
    """Returns an address of Kubeflow Pipelines without a slash at its end."""
    if not host:
        raise ConfigError(
            "kubeflow.host: expected the address of Kubeflow Pipelines, such as "
            f"http://localhost:8080, in the configuration, in ${HOST} or as --host; found none."
        )
    if hide_userinfo(host) != host:
        raise ConfigError(
            "kubeflow.host: expected an address without user name and password, found "
            f"{hide_userinfo(host)}. Put a bearer token into an environment variable and name it "
            "in kubeflow.token_env."
        )
    if not host.startswith(("http://", "https://")):
        raise ConfigError(
            "kubeflow.host: expected an address that begins with http:// or https://, "
            f"found {host!r}."
        )
    if not _is_url(host):
        raise ConfigError(
            f"kubeflow.host: expected an address such as http://localhost:8080, found {host!r}."
        )
    return host.rstrip("/")


def _is_url(host: str) -> bool:
    try:
        parts = urlsplit(host)
        return bool(parts.hostname) and parts.port != 0 and host.isascii() and " " not in host
    except ValueError:  # a bracket is not closed, or the port is no number
        return False


def _read_token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigError(
            f"kubeflow.token_env: expected a bearer token in ${variable}, found none."
        )
    return token


def _refused(host: str, token_env: str | None, status: int, reason: str) -> str:
    """Returns the text for an answer that is an error."""
    answer = f"{status}: {reason}" if reason else str(status)
    if status == _UNAUTHENTICATED and token_env:
        return (
            f"{host}: the token in ${token_env} was not accepted ({answer}). "
            f"Put a fresh token into ${token_env}."
        )
    if status == _UNAUTHENTICATED:
        return (
            f"{host}: authentication required ({answer}). Name the environment variable that "
            "holds a bearer token in `kubeflow.token_env`."
        )
    if status == _FORBIDDEN:
        return (
            f"{host}: you are not allowed to do this ({answer}). "
            "Check `kubeflow.namespace`, and your role in it."
        )
    if status == NOT_FOUND:
        return f"{host}: not found ({answer})."
    if status >= 500:
        return (
            f"{host}: Kubeflow Pipelines itself failed ({answer}). "
            "Try again; if it fails again, look into the log of its API server."
        )
    return f"{host}: Kubeflow Pipelines refused the request ({answer})."


def _unreachable(host: str, error: Exception) -> str:
    """Returns the text for a request that was not answered."""
    reason = getattr(error, "reason", None) or error
    kind = type(reason).__name__
    if kind == "SSLError":
        return (
            f"{host}: its certificate is not trusted. "
            "Name the certificates of the authority that signed it in `kubeflow.ca_cert`."
        )
    why = {
        "NameResolutionError": "no such host name",
        "NewConnectionError": "connection failed",
        "ConnectTimeoutError": "no answer",
        "ReadTimeoutError": "no answer in time",
        "ProtocolError": "the connection was closed",
    }.get(kind, kind)
    return (
        f"{host}: could not reach Kubeflow Pipelines ({why}). Check the address in "
        f"`kubeflow.host` or ${HOST}; for a cluster without a public address, is "
        "`kubectl port-forward` running?"
    )


def _no_api(host: str) -> KubeflowError:
    return KubeflowError(
        f"{host}: the API of Kubeflow Pipelines 2 (/apis/v2beta1) was not found. Either the "
        "address is wrong (for a whole Kubeflow it ends in /pipeline), or Kubeflow Pipelines is "
        "older than 2.0: update it.",
        NOT_FOUND,
    )
