"""KFP's own client, changed where it would hang, guess or read the user's home.

Importing `kfp` takes a second: import this module inside functions only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import kfp
import kfp_server_api
import urllib3

from pipeline.kubeflow.client import KubeflowError

TIMEOUT = (10, 120)  # seconds to connect, and to wait for an answer; KFP itself waits for ever


class Client(kfp.Client):  # type: ignore[misc]
    """`kfp.Client` that uses its arguments only, gives up early and never hangs.

    The original looks for a namespace and cookies in `~/.config/kfp/context.json`, tries a host
    that does not answer five times with pauses, and sends requests without a time limit.
    """

    _LOCAL_KFP_CONTEXT = ""  # no such file

    def __init__(
        self, host: str, *, namespace: str | None, token: str | None, ca_cert: str | None
    ) -> None:
        super().__init__(
            host=host,
            namespace=namespace or "kubeflow",  # KFP's word for "none given"
            existing_token=token,
            ssl_ca_cert=ca_cert,
        )
        if namespace:
            self.set_user_namespace(namespace)

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:  # noqa: ARG002
        """Asks once whether the API is there; the first request, as it sets the time limits."""
        rest = self._healthz_api.api_client.rest_client  # one for all services
        rest.request = functools.partial(_request, type(rest).request, rest)
        return self._healthz_api.healthz_service_get_healthz()

    def set_user_namespace(self, namespace: str) -> None:
        """Sets the namespace of this client; the original also writes it into the user's home."""
        self._context_setting["namespace"] = namespace.strip()

    def _load_config(self, *arguments: Any, **options: Any) -> kfp_server_api.Configuration:
        configuration = super()._load_config(*arguments, **options)
        # urllib3 repeats a POST only if no connection was made. A certificate that is not trusted
        # (`other`) stays so.
        configuration.retries = urllib3.Retry(
            total=3, connect=1, read=1, other=0, backoff_factor=0.2
        )
        return configuration


def _request(send: Callable[..., Any], rest: Any, method: str, url: str, **options: Any) -> Any:
    """Sends a request with a time limit.

    Raises:
        KubeflowError: the answer is not JSON; KFP's client would take it for an empty object.
    """
    options["_request_timeout"] = options.get("_request_timeout") or TIMEOUT
    answer = send(rest, method, url, **options)
    content_type = answer.getheader("content-type") or ""
    if "json" not in content_type:
        raise KubeflowError(
            f"{url.partition('/apis/')[0]}: answered with {content_type or 'no content type'}, not "
            "with the API's JSON; most likely a login page. Name the environment variable that "
            "holds a bearer token in `kubeflow.token_env`, or go round the login with "
            "`kubectl port-forward`."
        )
    return answer
