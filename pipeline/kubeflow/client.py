"""The connection to Kubeflow Pipelines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.command.escape import hide_userinfo
from components.config import Kubeflow
from components.errors import ConfigError
from pipeline.kubeflow.errors import KubeflowError, explained

if TYPE_CHECKING:
    from pipeline.kubeflow.sdk import Client

HOST = (
    "MASTERY_KUBEFLOW_HOST"  # environment variable: the address, before that of the configuration
)
_PAGE = 100  # items asked for at once; the server's limit is 200


@dataclass(frozen=True)
class Cluster:
    """Kubeflow Pipelines that answered.

    Attributes:
        client: KFP's client; call it inside `with cluster.explained()` only.
        host: its address, without a slash at the end.
        namespace: the user's namespace; empty where Kubeflow serves one user only.
        token_env: the environment variable whose value is sent as a token, if any.
    """

    client: Client
    host: str
    namespace: str
    token_env: str | None

    def explained(self) -> AbstractContextManager[None]:
        """Returns a block in which whatever goes wrong is a `KubeflowError` for people."""
        return explained(self.host, self.token_env)

    def link(self, run_id: str) -> str:
        """Returns where a run can be watched in the browser."""
        return f"{self.host}/#/runs/details/{run_id}"

    def pages(self, list_: Any, field: str, **options: Any) -> Iterator[Any]:
        """Yields the items of one of the client's `list_` methods, page after page, the newest first."""
        token = ""
        while True:
            with self.explained():
                page = list_(
                    page_token=token, page_size=_PAGE, sort_by="created_at desc", **options
                )
            yield from getattr(page, field) or []
            token = page.next_page_token or ""
            if not token:
                return


def named(name: str) -> str:
    """Returns the filter of a list request for items that are called `name`."""
    return json.dumps(
        {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    )


def connect(
    settings: Kubeflow, *, host: str | None = None, namespace: str | None = None
) -> Cluster:
    """Connects to Kubeflow Pipelines and makes sure that it is there.

    Args:
        settings: the section `kubeflow` of the configuration.
        host: wins over the environment's and the configuration's.
        namespace: wins over the configuration's.

    Raises:
        ConfigError: a setting is missing or cannot be right.
        KubeflowError: the host was not reached, refused, or is no Kubeflow Pipelines of version 2.
    """
    address = _address(host or os.environ.get(HOST) or settings.host)
    token = _token(settings.token_env)
    if settings.ca_cert and not Path(settings.ca_cert).is_file():
        raise ConfigError(
            f"kubeflow.ca_cert: expected a file of certificates, found none at {settings.ca_cert}."
        )
    from pipeline.kubeflow.sdk import Client

    try:
        with explained(address, settings.token_env):
            client = Client(
                address,
                namespace=namespace or settings.namespace,
                token=token,
                ca_cert=settings.ca_cert,
            )
            health = client.get_kfp_healthz()
    except KubeflowError as error:
        if error.status != 404:
            raise
        raise _no_api(address) from None
    found = client.get_user_namespace()
    if health.multi_user and not found:
        raise ConfigError(
            f"kubeflow.namespace: {address} serves several users; expected the namespace of your profile "
            "there or as --namespace, found none."
        )
    return Cluster(client, address, found, settings.token_env)


def _address(host: str | None) -> str:
    if not host:
        raise ConfigError(
            "kubeflow.host: expected the address of Kubeflow Pipelines, such as http://localhost:8080, in the "
            f"configuration, in ${HOST} or as --host; found none."
        )
    if hide_userinfo(host) != host:
        raise ConfigError(
            "kubeflow.host: expected an address without user name and password, found "
            f"{hide_userinfo(host)}. Put a bearer token into an environment variable and name it in "
            "kubeflow.token_env."
        )
    if not host.startswith(("http://", "https://")):
        raise ConfigError(
            f"kubeflow.host: expected an address that begins with http:// or https://, found {host!r}."
        )
    try:
        parts = urlsplit(host)
        usable = bool(parts.hostname) and parts.port != 0 and host.isascii() and " " not in host
    except ValueError:  # brackets that do not close, a port that is none
        usable = False
    if not usable:
        raise ConfigError(
            f"kubeflow.host: expected an address such as http://localhost:8080, found {host!r}."
        )
    return host.rstrip("/")


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigError(
            f"kubeflow.token_env: expected a bearer token in ${variable}, found none."
        )
    return token


def _no_api(host: str) -> KubeflowError:
    return KubeflowError(
        f"{host}: expected the API of Kubeflow Pipelines 2 (/apis/v2beta1), found none. Either the address is "
        "another one (for a whole Kubeflow it ends in /pipeline), or Kubeflow Pipelines is older than 2.0: update it.",
        404,
    )
