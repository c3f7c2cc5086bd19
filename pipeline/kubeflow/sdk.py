"""KFP's own client with its habits reined in: the one module that imports `kfp`; import it inside functions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kfp
import kfp_server_api
import urllib3

TIMEOUT = (10, 120)  # seconds to connect, and to wait for an answer; KFP itself waits for ever


class Client(kfp.Client):  # type: ignore[misc]
    """`kfp.Client` that is told everything by its arguments, answers an unreachable host at once and never hangs.

    The original looks for a namespace and cookies in `~/.config/kfp/context.json`, asks a host that does not
    answer five times with pauses, and sends requests without a time limit.
    """

    _LOCAL_KFP_CONTEXT = ""  # no such file

    def __init__(self, host: str, *, namespace: str | None, token: str | None, ca_cert: str | None) -> None:
        super().__init__(
            host=host,
            namespace=namespace or "kubeflow",  # its word for "none given"
            existing_token=token,
            ssl_ca_cert=ca_cert,
        )
        if namespace:
            self.set_user_namespace(namespace)
        rest = self._run_api.api_client.rest_client  # one for all services
        rest.request = _with_time_limit(rest.request)

    @property
    def content_type(self) -> str:
        """What the last answer said that it is."""
        return str(self._run_api.api_client.last_response.getheader("content-type", ""))

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:  # noqa: ARG002
        """Asks once whether the API is there."""
        return self._healthz_api.healthz_service_get_healthz(_request_timeout=TIMEOUT)

    def set_user_namespace(self, namespace: str) -> None:
        """Sets the namespace of this client; the original writes it into the user's home as well."""
        self._context_setting["namespace"] = namespace.strip()

    def _load_config(self, *arguments: Any, **options: Any) -> kfp_server_api.Configuration:
        configuration = super()._load_config(*arguments, **options)
        # Only what is safe to send twice is: urllib3 repeats a POST where no connection came about, and never else.
        configuration.retries = urllib3.Retry(connect=1, read=1, redirect=3, backoff_factor=0.2)
        return configuration


def _with_time_limit(request: Callable[..., Any]) -> Callable[..., Any]:
    def limited(*arguments: Any, **options: Any) -> Any:
        return request(*arguments, **{**options, "_request_timeout": options.get("_request_timeout") or TIMEOUT})

    return limited
